/** A store path's name as package and version, as Nix's `parseDrvName` splits it: `git-2.39.5` is git, 2.39.5. */
export function parseDerivationName(text: string): { readonly name: string; readonly version: string } {
  const match = /^(.*?)-(?=[^a-zA-Z])(.*)$/.exec(text);
  if (match === null || match[1] === '') return { name: text, version: '' };
  return { name: match[1]!, version: match[2]! };
}
