# A machine, as small as one gets. `larder rebuild switch -I nixpkgs=deploy/example -I nixos-config=FILE`
{
  boot.loader.grub.device = "/dev/sda";
  fileSystems."/".device = "/dev/sda1";
  services.sshd.enable = true;
}
