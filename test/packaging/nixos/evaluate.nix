# The NixOS modules, evaluated with a module system. `lib` and `pkgs` have what it takes of nixpkgs; an argument
# `nixpkgsLib`, the path of nixpkgs' own lib, takes that instead.
{
  lib ? (
    let
      own = import ../../../deploy/example/lib;
    in
    own
    // {
      toInt = builtins.fromJSON;
      types = own.types // {
        strMatching = pattern: own.types.matching pattern "a string matching ${pattern}";
        ints = { inherit (own.types) between; };
        numbers.between = low: high: {
          description = "a number from ${toString low} to ${toString high}";
          check = value: (builtins.isInt value || builtins.isFloat value) && value >= low && value <= high;
          merge = own.types.anything.merge;
        };
      };
    }
  ),
  nixpkgsLib ? null,
  settings ? { },
  proxy ? { },
}:
let
  theLib = if nixpkgsLib == null then lib else import nixpkgsLib;
  package = {
    type = "derivation";
    name = "larder";
    outPath = "/nix/store/00000000000000000000000000000000-larder";
  };
  pkgs = {
    callPackage = file: arguments: package;
    # The settings themselves, for a test to make TOML of; the unit names them.
    formats.toml = { }: {
      generate = name: value: "${name}:${builtins.toJSON value}";
    };
  };

  system = theLib.evalModules {
    modules = [
      ./options.nix
      ../../../deploy/nixos/module.nix
      ../../../deploy/nixos/proxy.nix
      {
        services.larder = settings;
        services.larder-proxy = proxy;
      }
    ];
    specialArgs = {
      lib = theLib;
      inherit pkgs;
    };
  };
in
{
  inherit (system.config.systemd) services;
  nix = system.config.nix.settings;
  ports = system.config.networking.firewall.allowedTCPPorts;
  keys =
    let
      leaves =
        prefix: tree:
        builtins.concatLists (
          map (
            name:
            let
              path = if prefix == "" then name else "${prefix}.${name}";
            in
            if tree.${name} ? _type || tree.${name} ? type then [ path ] else leaves path tree.${name}
          ) (builtins.attrNames tree)
        );
    in
    leaves "" system.options.services.larder.settings;
}
