{
  lib,
  config,
  options,
  pkgs,
  ...
}:
let
  cfg = config.services.sshd;
in
{
  options.services.sshd = {
    enable = lib.mkEnableOption "a server for SSH";
    port = lib.mkOption {
      type = lib.types.port;
      default = 22;
      description = "The port it listens on.";
    };
    listenAddress = lib.mkOption {
      type = lib.types.str;
      default = "0.0.0.0";
      description = "The address it listens on.";
    };
  };
  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.port != 0;
        message = "sshd needs a port to listen on, and 0 is none";
        option = options.services.sshd.port;
      }
    ];
    daemons.sshd.run = ''
      key=/var/lib/sshd/ed25519
      mkdir -p /var/lib/sshd
      [ -e $key ] || ${pkgs.dropbear}/bin/dropbearkey -t ed25519 -f $key
      # -s -g: no passwords. -F -E: stay in the foreground, log to standard error.
      exec ${pkgs.dropbear}/bin/dropbear -F -E -s -g -r $key -p ${cfg.listenAddress}:${toString cfg.port} -P /run/sshd.pid
    '';
  };
}
