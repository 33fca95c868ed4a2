# What is different in the virtual machine that `vm.nix` starts.
{ lib, ... }:
{
  fileSystems = lib.mkForce {
    "/" = {
      device = "tmpfs";
      fsType = "tmpfs";
    };
  };
  boot.loader.grub.device = lib.mkForce "nodev";
  boot.consoleShell = true;
  boot.kernelParams = [
    "larder.store=store"
    "console=ttyS0"
    "panic=-1"
  ];
}
