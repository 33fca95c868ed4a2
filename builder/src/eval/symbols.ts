/** Interned names. An id is a small integer: attribute sets are sorted by it and scopes are keyed by it. */
const idsByName = new Map<string, number>();
const namesById: string[] = [];

/** The id of `name` (bytes), the same for the same name for the life of the process. */
export function intern(name: string): number {
  let id = idsByName.get(name);
  if (id === undefined) {
    id = namesById.length;
    namesById.push(name);
    idsByName.set(name, id);
  }
  return id;
}

/** The id of `name` if anything was ever called that. */
export function internedId(name: string): number | undefined {
  return idsByName.get(name);
}

/** The name behind an id that `intern` gave. */
export function symbolName(id: number): string {
  return namesById[id]!;
}

/** Ids the evaluator itself asks for; interned in one place so that hot paths compare integers. */
export const sym = {
  sub: intern('__sub'),
  lessThan: intern('__lessThan'),
  mul: intern('__mul'),
  div: intern('__div'),
  or: intern('or'),
  findFile: intern('__findFile'),
  nixPath: intern('__nixPath'),
  body: intern('body'),
  overrides: intern('__overrides'),
  functor: intern('__functor'),
  toString: intern('__toString'),
  outPath: intern('outPath'),
  drvPath: intern('drvPath'),
  type: intern('type'),
  name: intern('name'),
  value: intern('value'),
  success: intern('success'),
  outputName: intern('outputName'),
  outputs: intern('outputs'),
  outputSpecified: intern('outputSpecified'),
  system: intern('system'),
  builder: intern('builder'),
  args: intern('args'),
  file: intern('file'),
  line: intern('line'),
  column: intern('column'),
  right: intern('right'),
  wrong: intern('wrong'),
  path: intern('path'),
  prefix: intern('prefix'),
  version: intern('version'),
  startSet: intern('startSet'),
  operator: intern('operator'),
  key: intern('key'),
  allOutputs: intern('allOutputs'),
  structuredAttrs: intern('__structuredAttrs'),
  ignoreNulls: intern('__ignoreNulls'),
  contentAddressed: intern('__contentAddressed'),
  impure: intern('__impure'),
  json: intern('__json'),
  outputHash: intern('outputHash'),
  outputHashAlgo: intern('outputHashAlgo'),
  outputHashMode: intern('outputHashMode'),
  recurseForDerivations: intern('recurseForDerivations'),
  meta: intern('meta'),
} as const;
