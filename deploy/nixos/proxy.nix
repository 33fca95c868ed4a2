# services.larder-proxy: one binary cache for this machine's Nix, or its neighbours', made of many.
#
#   imports = [ /path/to/larder/deploy/nixos/proxy.nix ];
#   services.larder-proxy.enable = true;
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.larder-proxy;
  inherit (lib) mkOption types;
  port = builtins.head (builtins.match ".*:([0-9]+)" cfg.listen);
  credentials = "/run/credentials/larder-proxy.service";

  arguments = [
    "--directory"
    "/var/cache/larder-proxy"
    "--listen"
    cfg.listen
    "--size"
    cfg.size
    "--priority"
    (toString cfg.priority)
  ]
  ++ builtins.concatMap (store: [ "--from" store ]) cfg.from
  ++ (if cfg.trustedPublicKeys == [ ] then [ ] else [ "--trusted-public-keys" (toString cfg.trustedPublicKeys) ])
  ++ (if cfg.policyFile == null then [ ] else [ "--policy" (toString cfg.policyFile) ])
  ++ (if cfg.keyFile == null then [ ] else [ "--key-file" "${credentials}/key" ])
  ++ (if cfg.netrcFile == null then [ ] else [ "--option" "netrc-file=${credentials}/netrc" ]);

  # As systemd reads a command line: % and $ stand for themselves, and blanks separate nothing.
  quote = text: "\"${builtins.replaceStrings [ "\\" "\"" "%" "$" ] [ "\\\\" "\\\"" "%%" "$$" ] text}\"";
in
{
  options.services.larder-proxy = {
    enable = lib.mkEnableOption "Larder's proxy, one binary cache made of many";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ./package.nix { };
      description = "The package with bin/larder.";
    };

    listen = mkOption {
      type = types.strMatching ".+:[0-9]+";
      default = "127.0.0.1:8730";
      example = "0.0.0.0:8730";
      description = "Where to take requests: host:port.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Whether to open the port of listen, for neighbours.";
    };

    useForNix = mkOption {
      type = types.bool;
      default = true;
      description = "Whether this machine's Nix asks the proxy.";
    };

    from = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "https://cache.example.org/main" "https://cache.nixos.org" ];
      description = "The caches behind it; those of nix.conf where it is empty.";
    };

    size = mkOption {
      type = types.strMatching "[0-9]+(\\.[0-9]+)? ?[kMGT]?i?B?";
      default = "10GB";
      description = "How much is kept of the archives, below /var/cache/larder-proxy.";
    };

    priority = mkOption {
      type = types.int;
      default = 10;
      description = "Among the substituters of its clients: the lowest is asked first.";
    };

    trustedPublicKeys = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "The keys that count; those of nix.conf where it is empty.";
    };

    policyFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = "A trust policy, trust.toml.";
    };

    keyFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/run/secrets/proxy-key";
      description = "A secret key that signs what is served, so that neighbours need trust no other.";
    };

    netrcFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/run/secrets/netrc";
      description = "The passwords of private caches.";
    };
  };

  config = lib.mkIf cfg.enable {
    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall [ (lib.toInt port) ];

    nix.settings.substituters = lib.mkIf cfg.useForNix [ "http://127.0.0.1:${port}" ];

    systemd.services.larder-proxy = {
      description = "Larder's proxy, one Nix binary cache made of many";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      environment.NODE_ENV = "production";
      serviceConfig = import ./hardening.nix // {
        Type = "exec";
        ExecStart = "${cfg.package}/bin/larder proxy ${
          builtins.concatStringsSep " " (map quote arguments)
        }";
        Restart = "on-failure";
        RestartSec = "2s";
        LimitNOFILE = 65536;
        LoadCredential =
          (if cfg.keyFile == null then [ ] else [ "key:${toString cfg.keyFile}" ])
          ++ (if cfg.netrcFile == null then [ ] else [ "netrc:${toString cfg.netrcFile}" ]);

        DynamicUser = true;
        User = "larder-proxy";
        CacheDirectory = "larder-proxy";
        CacheDirectoryMode = "0700";
        UMask = "0077";
      };
    };
  };
}
