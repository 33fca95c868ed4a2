# Types of options. A type is
#   description   what a value is, for errors: "a port number (0 to 65535)"
#   check         whether a single definition's value may be merged at all
#   merge         option path -> definitions (at least one, all checked) -> value
# `apply` is how options and the types inside types get from definitions to a value.
{
  evalModules,
  lists,
  positions,
  properties,
}:
let
  inherit (positions) showDefinitions showOption showPosition showValue;

  # All definitions must agree; the value is theirs.
  mergeEqual =
    path: definitions:
    let
      first = builtins.head definitions;
    in
    if builtins.all (definition: definition.value == first.value) definitions then
      first.value
    else
      throw ''
        the option `${showOption path}' is set to different values:
        ${showDefinitions definitions}
        Keep one, or say which prevails with lib.mkForce or lib.mkDefault.'';

  mergeOne =
    path: definitions:
    if builtins.length definitions == 1 then
      (builtins.head definitions).value
    else
      throw ''
        the option `${showOption path}' can be set only once, and is set here:
        ${showDefinitions definitions}'';

  apply =
    type: path: definitions:
    let
      wrong = builtins.filter (definition: !type.check definition.value) definitions;
    in
    if wrong == [ ] then
      type.merge path definitions
    else
      throw ''
        the option `${showOption path}' must be ${type.description}, but is set to
        ${showDefinitions wrong}'';

  scalar = description: check: {
    inherit description check;
    merge = mergeEqual;
  };

  isText = value: builtins.isString value || (builtins.isAttrs value && value ? outPath);
in
rec {
  inherit apply;

  bool = scalar "true or false" builtins.isBool;
  int = scalar "a whole number" builtins.isInt;
  between =
    low: high:
    scalar "a whole number from ${toString low} to ${toString high}" (
      value: builtins.isInt value && value >= low && value <= high
    );
  port = between 0 65535 // {
    description = "a port number (0 to 65535)";
  };
  str = scalar "a string" isText;
  matching =
    pattern: description:
    scalar description (value: builtins.isString value && builtins.match pattern value != null);
  path = scalar "an absolute path" (
    value:
    builtins.isPath value
    || (isText value && builtins.substring 0 1 (builtins.unsafeDiscardStringContext "${value}") == "/")
  );
  package = {
    description = "a package";
    check = value: builtins.isAttrs value && value.type or null == "derivation";
    merge = mergeOne;
  };
  enum =
    choices:
    scalar "one of ${builtins.concatStringsSep ", " (map builtins.toJSON choices)}" (
      value: builtins.elem value choices
    );
  # Text whose definitions are put one after the other.
  lines = {
    description = "lines of text";
    check = builtins.isString;
    merge = path: definitions: lists.concatLines (map (definition: definition.value) definitions);
  };
  anything = {
    description = "a value";
    check = value: true;
    merge = mergeEqual;
  };
  unmergeable = {
    description = "a value";
    check = value: true;
    merge = mergeOne;
  };

  nullOr = type: {
    description = "null or ${type.description}";
    check = value: value == null || type.check value;
    merge =
      path: definitions:
      if builtins.any (definition: definition.value == null) definitions then
        mergeEqual path definitions
      else
        apply type path definitions;
  };

  listOf = type: {
    description = "a list, each ${type.description}";
    check = builtins.isList;
    merge =
      path: definitions:
      builtins.concatMap (
        definition:
        builtins.genList (
          index:
          apply type (path ++ [ (toString index) ]) [
            (definition // { value = builtins.elemAt definition.value index; })
          ]
        ) (builtins.length definition.value)
      ) definitions;
  };

  attrsOf = type: {
    description = "a set, each ${type.description}";
    check = value: builtins.isAttrs value && value.type or null != "derivation";
    merge =
      path: definitions:
      let
        definitionsByName = builtins.listToAttrs (
          map (name: {
            inherit name;
            value = properties.prevailing (properties.definitionsOf name definitions);
          }) (lists.attrNamesOf (map (definition: definition.value) definitions))
        );
      in
      # An attribute whose every definition is under a condition that does not hold is not there.
      builtins.mapAttrs (name: each: apply type (path ++ [ name ]) each) (
        lists.filterAttrs (name: each: each != [ ]) definitionsByName
      );
  };

  # A set with options of its own. `name` is the attribute that it stands at.
  submodule = module: {
    description = "a set of options";
    check = value: builtins.isAttrs value || builtins.isFunction value || builtins.isPath value;
    merge =
      path: definitions:
      builtins.removeAttrs
        (evalModules {
          prefix = path;
          modules = [ module ] ++ map (definition: { _definition = definition; }) definitions;
          specialArgs = {
            name = lists.last path;
          };
        }).config
        [ "_module" ];
  };
}
