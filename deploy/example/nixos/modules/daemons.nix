# Programs that run as long as the machine does. Each is a package of its own, so comparing two systems' daemons by
# their store paths tells just those that changed.
{
  lib,
  config,
  pkgs,
  ...
}:
{
  options.daemons = lib.mkOption {
    type = lib.types.attrsOf (
      lib.types.submodule (
        { name, config, ... }:
        {
          options = {
            run = lib.mkOption {
              type = lib.types.lines;
              description = "A shell script that becomes the daemon and stays in the foreground; started again when it ends.";
            };
            package = lib.mkOption {
              type = lib.types.package;
              default = pkgs.writeScript "daemon-${name}" config.run;
              description = "The daemon's program.";
            };
          };
        }
      )
    );
    default = { };
    description = "Programs to keep running, by name.";
  };
  config.system.build.daemons = pkgs.build {
    name = "daemons";
    script =
      "mkdir $out\n"
      + lib.concatLines (
        lib.mapAttrsToList (name: daemon: "ln -s ${daemon.package} $out/${name}") config.daemons
      );
  };
}
