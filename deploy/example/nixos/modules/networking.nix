{
  lib,
  config,
  pkgs,
  ...
}:
let
  leased = pkgs.writeScript "dhcp-lease" ''
    case $1 in
      deconfig) ip link set $interface up; ip -4 address flush dev $interface ;;
      bound | renew)
        ip -4 address flush dev $interface
        ip address add $ip/$mask dev $interface
        for each in ''${router:-}; do ip route replace default via $each dev $interface; done
        for each in ''${dns:-}; do echo nameserver $each; done > /etc/resolv.conf
        ;;
    esac
  '';
in
{
  options.networking = {
    hostName = lib.mkOption {
      type = lib.types.matching "[a-z0-9]([a-z0-9-]*[a-z0-9])?" "a host name: small letters, digits and dashes";
      default = "larder";
      description = "The machine's name.";
    };
    dhcp.interface = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = "eth0";
      description = "The interface that asks for an address, or null.";
    };
  };
  config = {
    environment.etc.hostname.text = "${config.networking.hostName}\n";
    environment.etc.hosts.text = "127.0.0.1 localhost ${config.networking.hostName}\n";
    daemons = lib.mkIf (config.networking.dhcp.interface != null) {
      dhcp.run = "exec udhcpc -f -i ${config.networking.dhcp.interface} -s ${leased}";
    };
  };
}
