# A whole system from a configuration: `import ./. { configuration = ./configuration.nix; }` gives `config`, `options`,
# `system` (what `rebuild switch` makes current) and `vm`. With no argument the configuration is <nixos-config>.
{
  configuration ? <nixos-config>,
}:
let
  lib = import ../lib;
  evaluate =
    modules:
    lib.evalModules {
      modules = [ ./modules ] ++ modules;
      specialArgs = {
        inherit lib;
        # For systems that are this one with something changed, such as the virtual machine.
        evaluateWith = extra: evaluate (modules ++ extra);
      };
    };
  evaluated = evaluate [ configuration ];
in
{
  inherit (evaluated) config options;
  system = evaluated.config.system.build.toplevel;
  vm = evaluated.config.system.build.vm;
}
