# The module system, small: options with types, defaults, merging and assertions. `evalModules` in modules.nix is the
# heart of it; everything a module needs is in here, by one name each.
let
  lists = import ./lists.nix;
  properties = import ./properties.nix { inherit lists; };
  positions = import ./positions.nix;
  types = import ./types.nix {
    inherit lists positions properties;
    inherit (modules) evalModules;
  };
  modules = import ./modules.nix {
    inherit lists positions properties types;
  };
in
{
  inherit types;
  inherit (modules) evalModules mkOption mkEnableOption;
  inherit (properties)
    mkIf
    mkMerge
    mkOverride
    mkDefault
    mkForce
    mkOrder
    mkBefore
    mkAfter
    ;
  inherit (positions) showOption showPosition showValue;
}
// lists
