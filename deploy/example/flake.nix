{
  description = "A small machine that larder rebuild is tried on";

  outputs =
    { self }:
    {
      # What a flake of one's own makes a machine with: nixosConfigurations.NAME = example.lib.system ./configuration.nix;
      lib.system = configuration: import ./nixos { inherit configuration; };
      nixosConfigurations.larder = self.lib.system ./configuration.nix;
    };
}
