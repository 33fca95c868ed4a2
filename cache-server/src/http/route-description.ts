import type { z } from 'zod';

/** The chapters of the API's documentation, in their order, with what each is about. */
export const routeGroups = {
  reading: 'What stock Nix reads of a cache.',
  publishing: "Larder's own upload protocol: ask what is missing, send NARs, commit all paths at once.",
  fetching: "Larder's own download protocol: a closure in one answer.",
  stock: 'What `nix copy --to http://…` sends: plain PUTs in the layout of a binary cache.',
  caches: 'Making, changing and deleting caches, and their keys.',
  pins: 'Names that keep paths, with their history.',
  retention: 'What goes, and when.',
  tokens: 'Who may do what, and who did.',
  operations: 'For load balancers, supervisors, monitoring, and this document.',
  pages: 'For people.',
} as const;

export type RouteGroup = keyof typeof routeGroups;

/** What a body is: JSON of a schema, or bytes of a media type. */
export type BodyDescription = { readonly json: z.ZodType } | { readonly type: string };

/** An answer: what it means, and its body where it has one. */
export type AnswerDescription = { readonly what: string } & Partial<BodyDescription>;

export interface QueryParameter {
  readonly what: string;
  readonly schema: z.ZodType;
  readonly required?: true;
}

/**
 * What the OpenAPI document says of a route (`openapi.ts`). Path parameters are described by name in `path-parameters.ts`;
 * errors, access and HEAD are the same everywhere and need no mention.
 */
export interface RouteDescription {
  /** A line, without a full stop. */
  readonly summary: string;
  /** More, in Markdown. */
  readonly details?: string;
  readonly group: RouteGroup;
  readonly query?: Readonly<Record<string, QueryParameter>>;
  readonly body?: BodyDescription;
  /** Answers of success, by status. */
  readonly answers: Readonly<Record<number, AnswerDescription>>;
}
