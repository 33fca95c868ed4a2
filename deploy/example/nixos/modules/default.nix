{
  imports = [
    ./packages.nix
    ./boot.nix
    ./file-systems.nix
    ./environment.nix
    ./users.nix
    ./networking.nix
    ./daemons.nix
    ./sshd.nix
    ./specialisation.nix
    ./toplevel.nix
    ./vm.nix
  ];
}
