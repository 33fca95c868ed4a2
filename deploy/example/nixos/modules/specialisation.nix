# Variants of the system, `config.system.build.specialisations`: each has its own entries in the boot menu, and
# `larder rebuild switch --specialisation NAME` activates it.
{
  lib,
  config,
  evaluateWith,
  ...
}:
{
  options.specialisation = lib.mkOption {
    type = lib.types.attrsOf (
      lib.types.submodule {
        options.configuration = lib.mkOption {
          type = lib.types.unmergeable;
          example = { services.sshd.enable = true; };
          description = "A module on top of the configuration itself.";
        };
      }
    );
    default = { };
    description = "Variants of the system, by name.";
  };
  # A variant has none of its own.
  config.system.build.specialisations = builtins.mapAttrs (
    _: { configuration, ... }:
    (evaluateWith [
      configuration
      { specialisation = lib.mkForce { }; }
    ]).config.system.build
  ) config.specialisation;
}
