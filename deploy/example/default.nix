# The package set: `import ./. { }` gives all packages by name. It needs no network: what it is made of lies in
# `sources` (see sources.mjs), found as <larder-sources> in the search path or beside this file.
{
  sources ?
    let
      found = builtins.tryEval <larder-sources>;
    in
    if found.success then found.value else ./sources,
  # Functions of the final set and the set so far that change or add packages.
  overlays ? [ ],
  system ? "x86_64-linux",
}:
let
  base = import ./pkgs { inherit sources system; };
  extend = final: set: overlay: set // overlay final set;
  final = builtins.foldl' (extend final) (base final) overlays;
in
final
