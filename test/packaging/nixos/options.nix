# The options of NixOS that the module sets.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  list = mkOption {
    type = types.listOf types.str;
    default = [ ];
  };
in
{
  options = {
    systemd.services = mkOption {
      type = types.attrsOf (
        types.submodule {
          options = {
            description = mkOption { type = types.str; };
            wantedBy = list;
            wants = list;
            after = list;
            environment = mkOption { type = types.attrsOf types.str; };
            serviceConfig = mkOption { type = types.attrsOf types.anything; };
          };
        }
      );
      default = { };
    };
    nix.settings = mkOption {
      type = types.attrsOf (types.listOf types.str);
      default = { };
    };
    networking.firewall.allowedTCPPorts = mkOption {
      type = types.listOf types.int;
      default = [ ];
    };
  };
}
