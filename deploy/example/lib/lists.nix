# What the language's builtins leave out and this module system needs.
rec {
  unique = builtins.foldl' (seen: item: if builtins.elem item seen then seen else seen ++ [ item ]) [ ];

  last = list: builtins.elemAt list (builtins.length list - 1);

  init = list: builtins.genList (builtins.elemAt list) (builtins.length list - 1);

  optional = condition: item: if condition then [ item ] else [ ];

  optionals = condition: list: if condition then list else [ ];

  concatLines = builtins.concatStringsSep "\n";

  mapAttrsToList = f: attrs: map (name: f name attrs.${name}) (builtins.attrNames attrs);

  filterAttrs =
    keep: attrs:
    builtins.removeAttrs attrs (
      builtins.filter (name: !keep name attrs.${name}) (builtins.attrNames attrs)
    );

  # Names of all the sets, each once.
  attrNamesOf = sets: builtins.attrNames (builtins.foldl' (all: set: all // set) { } sets);

  escapeShellArg = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString text)}'";
}
