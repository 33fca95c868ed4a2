# Properties: what a definition may be wrapped in. They go with a definition while it is pushed down to the options,
# so that `mkIf condition { a = 1; b = 2; }` does not force its condition to know that it defines `a` and `b`, and
# every definition keeps the position at which it was written.
#
# A definition is { file; pos; value; conditions; priority; order; }.
{ lists }:
let
  isProperty = value: builtins.isAttrs value && value ? _property;
  defaultPriority = 100;
in
rec {
  mkIf = condition: content: {
    _property = "if";
    inherit condition content;
  };
  mkMerge = contents: {
    _property = "merge";
    inherit contents;
  };
  # Of several definitions only those with the lowest priority count.
  mkOverride = priority: content: {
    _property = "override";
    inherit priority content;
  };
  mkOptionDefault = mkOverride 1500;
  mkDefault = mkOverride 1000;
  mkForce = mkOverride 50;
  # What has a lower order comes first in a merged list or text.
  mkOrder = order: content: {
    _property = "order";
    inherit order content;
  };
  mkBefore = mkOrder 500;
  mkAfter = mkOrder 1500;

  define = file: pos: value: {
    inherit file pos value;
    conditions = [ ];
    priority = defaultPriority;
    order = 1000;
  };

  # Takes the properties off a definition: the definitions inside, still conditional.
  unwrap =
    definition:
    let
      inherit (definition) value;
      inside = changes: unwrap (definition // { value = value.content; } // changes);
    in
    if !isProperty value then
      [ definition ]
    else if value._property == "merge" then
      builtins.concatMap (content: unwrap (definition // { value = content; })) value.contents
    else if value._property == "if" then
      inside { conditions = definition.conditions ++ [ value.condition ]; }
    else if value._property == "override" then
      inside { inherit (value) priority; }
    else
      inside { inherit (value) order; };

  # The definitions of one attribute in definitions of the set around it, as they were written. Forces no value.
  writtenOf =
    name: definitions:
    map (
      definition:
      definition
      // {
        value = definition.value.${name};
        pos =
          let
            own = builtins.unsafeGetAttrPos name definition.value;
          in
          if own == null then definition.pos else own;
      }
    ) (builtins.filter (definition: definition.value ? ${name}) definitions);

  # The same with their properties taken off, for which the values must be known to that extent.
  definitionsOf = name: definitions: builtins.concatMap unwrap (writtenOf name definitions);

  holds = definition: builtins.all (condition: condition) definition.conditions;

  # The definitions that count, in order: those whose conditions hold, of the best priority.
  prevailing =
    definitions:
    let
      holding = builtins.filter holds definitions;
      best = builtins.foldl' (
        least: { priority, ... }: if priority < least then priority else least
      ) 1000000 holding;
    in
    builtins.sort (a: b: a.order < b.order) (builtins.filter (each: each.priority == best) holding);
}
