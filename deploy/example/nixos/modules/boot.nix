{
  lib,
  config,
  options,
  pkgs,
  ...
}:
let
  cfg = config.boot;
  root = config.fileSystems."/";
in
{
  options.boot = {
    kernel = lib.mkOption {
      type = lib.types.package;
      default = pkgs.linux;
      description = "The kernel: a package with `vmlinuz` and `modules`.";
    };
    initrd = lib.mkOption {
      type = lib.types.package;
      default = pkgs.initrd;
      description = "A package with the first file system, `initrd`.";
    };
    kernelParams = lib.mkOption {
      type = lib.types.listOf (lib.types.matching "[^ ]+" "a kernel parameter, without spaces");
      default = [ ];
      example = [ "console=ttyS0" ];
      description = "Words for the kernel's command line.";
    };
    loader = {
      timeout = lib.mkOption {
        type = lib.types.between 0 3600;
        default = 5;
        description = "Seconds the boot menu waits.";
      };
      grub.enable = lib.mkOption {
        type = lib.types.bool;
        default = !cfg.loader.systemd-boot.enable;
        description = "Whether GRUB's menu has an entry for every generation.";
      };
      grub.device = lib.mkOption {
        type = lib.types.matching "/dev/.+|nodev" "a device such as \"/dev/sda\", or \"nodev\"";
        example = "/dev/sda";
        description = "The disk whose boot sector GRUB is in.";
      };
      systemd-boot.enable = lib.mkEnableOption "an entry for every generation in systemd-boot's menu";
    };
  };
  config = {
    boot.kernelParams = lib.mkBefore [
      "root=${root.device}"
      "rootfstype=${root.fsType}"
    ];
    assertions = [
      {
        assertion = cfg.loader.grub.enable || cfg.loader.systemd-boot.enable;
        message = "no boot loader is enabled";
        option = options.boot.loader.grub.enable;
      }
    ];
  };
}
