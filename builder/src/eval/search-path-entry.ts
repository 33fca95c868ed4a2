/** One entry of the Nix search path: what lookups start with, and where they are looked up. */
export interface SearchPathEntry {
  readonly prefix: string;
  readonly path: string;
}

/** Reads `prefix=path` or `path`. */
export function parseSearchPathEntry(text: string): SearchPathEntry {
  const separator = text.indexOf('=');
  if (separator < 0) return { prefix: '', path: text };
  return { prefix: text.slice(0, separator), path: text.slice(separator + 1) };
}

/** Whether an entry is to be downloaded rather than found. */
export function isPseudoUrl(text: string): boolean {
  return /^channel:|^(https?|file|channel|git|s3|ssh):\/\//.test(text);
}

/** Splits `NIX_PATH` at its colons, but not at those of URLs. */
export function parseNixPath(text: string): SearchPathEntry[] {
  const entries: string[] = [];
  let start = 0;
  for (let at = 0; at <= text.length; at++) {
    if (at < text.length && text[at] !== ':') continue;
    const before = text.slice(start, at);
    const rest = text.slice(start);
    const value = rest.slice(rest.slice(0, at - start).indexOf('=') + 1);
    const schemeEnds = !before.slice(before.indexOf('=') + 1).includes(':');
    if (at < text.length && schemeEnds && (isPseudoUrl(value) || value.startsWith('flake:'))) continue;
    if (before !== '') entries.push(before);
    start = at + 1;
  }
  return entries.map(parseSearchPathEntry);
}
