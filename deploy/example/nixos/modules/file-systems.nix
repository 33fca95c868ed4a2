{
  lib,
  config,
  options,
  ...
}:
let
  line =
    path: { device, fsType, options, ... }:
    "${device} ${path} ${fsType} ${builtins.concatStringsSep "," options} 0 0";
in
{
  options.fileSystems = lib.mkOption {
    type = lib.types.attrsOf (
      lib.types.submodule {
        options = {
          device = lib.mkOption {
            type = lib.types.str;
            example = "/dev/sda1";
            description = "What is mounted.";
          };
          fsType = lib.mkOption {
            type = lib.types.str;
            default = "ext4";
            description = "The type of the file system.";
          };
          options = lib.mkOption {
            type = lib.types.listOf lib.types.str;
            default = [ "defaults" ];
            description = "Options of the mount.";
          };
        };
      }
    );
    default = { };
    description = "File systems by the path they are mounted at.";
  };
  config = {
    assertions = [
      {
        assertion = config.fileSystems ? "/";
        message = "there must be a root: set fileSystems.\"/\".device";
        option = options.fileSystems;
      }
    ];
    environment.etc.fstab.text =
      lib.concatLines (lib.mapAttrsToList line config.fileSystems) + "\n";
  };
}
