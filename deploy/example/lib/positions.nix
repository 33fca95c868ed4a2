# How errors name options, values and places.
rec {
  # [ "fileSystems" "/" "device" ] -> fileSystems."/".device
  showOption =
    path:
    builtins.concatStringsSep "." (
      map (name: if builtins.match "[a-zA-Z_][a-zA-Z0-9_'-]*" name == null then builtins.toJSON name else name) path
    );

  # The file and line of a definition or declaration; the file alone where Nix keeps no position (a set made by code).
  showPosition =
    { file, pos, ... }:
    if pos == null then toString file else "${toString pos.file}:${toString pos.line}:${toString pos.column}";

  # A value short enough for one line of an error.
  showValue =
    value:
    let
      kind = builtins.typeOf value;
    in
    if kind == "string" then
      "the string ${builtins.toJSON value}"
    else if kind == "int" || kind == "float" then
      "the number ${toString value}"
    else if kind == "bool" then
      (if value then "true" else "false")
    else if kind == "path" then
      "the path ${toString value}"
    else if kind == "set" then
      if value.type or null == "derivation" then
        "a package (${value.name or "unnamed"})"
      else
        "a set with the attributes ${
          let
            names = builtins.attrNames value;
          in
          if names == [ ] then "(none)" else builtins.concatStringsSep ", " names
        }"
    else if kind == "list" then
      "a list of ${toString (builtins.length value)}"
    else if kind == "lambda" then
      "a function"
    else
      "null";

  # "  true, at /etc/nixos/configuration.nix:3:5", one definition a line
  showDefinitions =
    definitions:
    builtins.concatStringsSep "\n" (
      map (definition: "  ${showValue definition.value}, at ${showPosition definition}") definitions
    );
}
