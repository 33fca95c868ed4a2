import { z } from 'zod';

/** What a token allows. `admin` allows everything; on the pattern `*` it also runs the server's own affairs. */
export const scopes = ['pull', 'push', 'delete', 'configure', 'admin'] as const;
export type Scope = (typeof scopes)[number];

/** Caches by name. */
export const cachePattern = z
  .string()
  .regex(/^[a-z0-9_*-]{1,63}$/, 'must be the name of a cache, with * for any run of characters');
