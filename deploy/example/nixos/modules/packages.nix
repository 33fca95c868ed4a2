# The package set, for all modules: `pkgs`.
{ lib, config, ... }:
{
  options.packages.overlays = lib.mkOption {
    type = lib.types.listOf lib.types.unmergeable;
    default = [ ];
    description = "Functions of the final package set and the set so far, that change or add packages.";
  };
  config._module.args.pkgs = import ../.. { inherit (config.packages) overlays; };
}
