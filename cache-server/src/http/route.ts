import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import type { Grant } from '../auth/access.js';
import type { Scope, Token } from '../auth/token.js';
import type { RequestRecord } from './request-record.js';
import type { RouteDescription } from './route-description.js';

/** What every handler finds in Hono's context. */
export interface RouteEnvironment {
  readonly Bindings: HttpBindings;
  readonly Variables: { readonly record: RequestRecord };
}

export type RouteContext<Path extends string = string> = Context<RouteEnvironment, Path>;

/** A page for people: they may have logged in, and are told what goes wrong in words. */
interface PageRoute {
  readonly isPage?: true;
}

/** A route that has to do with one cache: its path has `:cache`, and its rule was checked before the handler runs. */
export interface CacheRoute extends PageRoute {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE' | 'PATCH';
  readonly path: string;
  /** One of these scopes is needed. */
  readonly access: readonly Scope[];
  readonly about: RouteDescription;
  readonly handle: (context: RouteContext, grant: Grant) => Response | Promise<Response>;
}

/** A route for anyone. */
export interface OpenRoute extends PageRoute {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly access: 'open';
  readonly about: RouteDescription;
  readonly handle: (context: RouteContext) => Response | Promise<Response>;
}

/** A route that has to do with no one cache: for whoever has a token in force, or for administrators of the whole server. */
export interface ServerRoute extends PageRoute {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly access: 'token' | 'server-admin';
  readonly about: RouteDescription;
  readonly handle: (context: RouteContext, token: Token) => Response | Promise<Response>;
}

/** Every route says who may use it, and what it is for: there is no other way to add one (`app.ts`, `openapi.ts`). */
export type Route = CacheRoute | ServerRoute | OpenRoute;
