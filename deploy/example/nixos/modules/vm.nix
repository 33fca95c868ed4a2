# `config.system.build.vm`: a script that boots this configuration in QEMU on the machine it was built on. The store
# is the host's, shared read-only; the rest of the file system is in memory and gone afterwards.
{
  lib,
  config,
  pkgs,
  evaluateWith,
  ...
}:
let
  cfg = config.virtualisation;
  toplevel = (evaluateWith [ ./vm-guest.nix ]).config.system.build.toplevel;
  forwards = builtins.concatStringsSep "" (
    map ({ host, guest }: ",hostfwd=tcp:127.0.0.1:${toString host}-:${toString guest}") cfg.forwardPorts
  );
  port = what: default: lib.mkOption {
    type = lib.types.port;
    inherit default;
    description = "The port on the ${what}.";
  };
in
{
  options.virtualisation = {
    memory = lib.mkOption {
      type = lib.types.between 64 1048576;
      default = 512;
      description = "The machine's memory, in megabytes.";
    };
    cores = lib.mkOption {
      type = lib.types.between 1 256;
      default = 1;
      description = "The machine's processors.";
    };
    forwardPorts = lib.mkOption {
      type = lib.types.listOf (
        lib.types.submodule {
          options.host = port "host" 2222;
          options.guest = port "machine" 22;
        }
      );
      default = [ ];
      example = [ { host = 2222; } ];
      description = "Ports of the host's 127.0.0.1 that lead into the machine.";
    };
    kvm = lib.mkEnableOption "the host's processor run the machine, where KVM works; emulation otherwise";
    qemu = lib.mkOption {
      type = lib.types.str;
      default = "qemu-system-x86_64";
      description = "QEMU's program: of the host, not of the store.";
    };
  };
  config.system.build.vm = pkgs.build {
    name = "vm-${config.networking.hostName}";
    inherit (cfg) qemu;
    inherit toplevel;
    # The store may lie anywhere on the host: its place is where this script was found.
    run = ''
      #!/bin/sh
      # Boots ${config.networking.hostName} in QEMU. Arguments go to QEMU; QEMU_KERNEL_PARAMS to the kernel.
      set -eu
      store=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
      system=$store/$(basename @toplevel@)
      file() { echo "$store/$(readlink "$1" | cut -d / -f 4-)"; }
      exec ${cfg.qemu} -machine q35,accel=${if cfg.kvm then "kvm" else "tcg"} -cpu max -m ${toString cfg.memory} -smp ${toString cfg.cores} \
        -nographic -no-reboot \
        -kernel "$(file "$system/kernel")" -initrd "$(file "$system/initrd")" \
        -append "$(cat "$system/kernel-params") init=@toplevel@/init ''${QEMU_KERNEL_PARAMS:-}" \
        -virtfs local,path="$store",mount_tag=store,security_model=none,readonly=on,multidevs=remap \
        -nic user,model=virtio-net-pci${forwards} "$@"
    '';
    script = ''
      mkdir -p $out/bin
      printf '%s' "$run" | sed "s|@toplevel@|$toplevel|g" > $out/bin/run-${config.networking.hostName}-vm
      chmod 0555 $out/bin/run-${config.networking.hostName}-vm
      ln -s $toplevel $out/system
    '';
  };
}
