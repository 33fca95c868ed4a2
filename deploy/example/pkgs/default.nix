# Packages as functions of the final set, so that replacing one reaches everything that uses it.
{ sources, system }:
final:
let
  # What Debian calls 1.35.0-4+deb12u1 is version 1.35.0 here.
  version =
    name:
    builtins.head (builtins.match "([0-9.]*[0-9]).*" (builtins.readFile (sources + "/${name}/version")));

  # A source of this machine, as a fixed path: copied to the store by its contents alone.
  fixed =
    name:
    builtins.path {
      path = sources + "/${name}";
      name = "${name}-source";
    };
in
{
  lib = import ../lib;
  inherit system;

  # { name; script; … } -> a derivation that runs the shell script with busybox at hand and makes $out.
  # Every other attribute is an environment variable of the script.
  build =
    { name, script, ... }@attrs:
    derivation (
      {
        inherit system;
        builder = "${final.busybox}/bin/ash";
        args = [
          "-euc"
          script
        ];
        PATH = "${final.busybox}/bin";
      }
      // builtins.removeAttrs attrs [ "script" ]
    )
    // builtins.intersectAttrs {
      version = null;
      pname = null;
    } attrs;

  writeText =
    name: text:
    final.build {
      inherit name text;
      script = ''printf '%s' "$text" > $out'';
    };

  # A shell script run by busybox's ash, with busybox's tools and nothing else in its PATH.
  writeScript =
    name: text:
    final.build {
      inherit name;
      text = ''
        #!${final.busybox}/bin/ash
        set -eu
        export PATH=${final.busybox}/bin
        ${text}'';
      script = ''
        printf '%s' "$text" > $out
        chmod 0555 $out
        ash -n $out
      '';
    };

  # One tree of links to all that is in the packages: the first package that has a name wins it.
  buildEnv =
    name: packages:
    final.build {
      inherit name packages;
      script = ''
        mkdir $out
        for package in $packages; do
          cd $package
          for directory in bin share; do
            [ -d $directory ] || continue
            find -L $directory -type d -exec mkdir -p $out/{} ';'
            find -L $directory ! -type d | sort | while read -r file; do
              [ -e $out/$file ] || ln -s $package/$file $out/$file
            done
          done
        done
      '';
    };

  # The shell and tools that everything else is built and run with. Built by the copy it installs.
  busybox =
    let
      source = fixed "busybox";
    in
    derivation {
      name = "busybox-${version "busybox"}";
      inherit system;
      builder = "${source}/bin/busybox";
      args = [
        "ash"
        "-euc"
        ''
          busybox=${source}/bin/busybox
          $busybox mkdir -p $out/bin
          $busybox cp $busybox $out/bin/busybox
          for applet in $($busybox --list); do
            [ $applet = busybox ] || $busybox ln -s busybox $out/bin/$applet
          done
        ''
      ];
    };

  dropbear = import ./dropbear.nix {
    inherit final;
    source = fixed "dropbear";
    version = version "dropbear";
  };

  linux =
    let
      source = fixed "linux";
    in
    final.build {
      name = "linux-${version "linux"}";
      script = ''
        mkdir $out
        cp -r ${source}/vmlinuz ${source}/modules $out
      '';
    };

  initrd = import ./initrd.nix { inherit final; };

  hello = import ./hello.nix {
    inherit final;
    version = "1.0";
  };

  hello_2 = import ./hello.nix {
    inherit final;
    version = "2.0";
  };
}
