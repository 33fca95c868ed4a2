{
  lib,
  config,
  pkgs,
  ...
}:
let
  files = config.environment.etc;
  install =
    name:
    { source, mode, ... }:
    ''
      mkdir -p $out/$(dirname ${lib.escapeShellArg name})
      ln -s ${source} $out/${lib.escapeShellArg name}
      ${if mode == "link" then "" else "echo ${mode} > $out/${lib.escapeShellArg name}.mode"}
    '';
in
{
  options.environment = {
    systemPackages = lib.mkOption {
      type = lib.types.listOf lib.types.package;
      default = [ ];
      description = "Packages whose programs every user has.";
    };
    etc = lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.submodule (
          { name, config, ... }:
          {
            options = {
              text = lib.mkOption {
                type = lib.types.nullOr lib.types.lines;
                default = null;
                description = "The file's text.";
              };
              source = lib.mkOption {
                type = lib.types.path;
                default = pkgs.writeText (builtins.replaceStrings [ "/" ] [ "-" ] "etc-${name}") config.text;
                description = "The file, when it is not given as text.";
              };
              mode = lib.mkOption {
                type = lib.types.matching "link|0[0-7]{3}" "\"link\", or an octal mode such as \"0600\"";
                default = "link";
                description = "A link into the store, or a copy with this mode.";
              };
            };
          }
        )
      );
      default = { };
      description = "Files in /etc.";
    };
  };
  config = {
    environment.systemPackages = lib.mkAfter [ pkgs.busybox ];
    environment.etc.profile.text = ''
      export PATH=/run/current-system/sw/bin
      PS1='[\u@\h:\w]\$ '
    '';
    system.build.sw = pkgs.buildEnv "sw" config.environment.systemPackages;
    system.build.etc = pkgs.build {
      name = "etc";
      script = "mkdir $out\n" + builtins.concatStringsSep "" (lib.mapAttrsToList install files);
    };
  };
}
