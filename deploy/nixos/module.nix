# services.larder: the cache server as a service of NixOS.
#
#   imports = [ /path/to/larder/deploy/nixos/module.nix ];
#   services.larder.enable = true;
#   services.larder.settings.public_url = "https://cache.example.org";
#
# Every key of larder.toml is an option below `settings`, so that a mistake is found while the configuration is evaluated.
# What is null keeps the server's own default (cache-server/README.md).
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.larder;
  inherit (lib) mkOption types;

  optional =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  text = optional types.str;
  flag = optional types.bool;
  number = optional types.int;
  choice = choices: optional (types.enum choices);
  # As the server reads them: a number and a unit.
  size = optional (types.strMatching "[0-9]+(\\.[0-9]+)? ?(B|KiB|MiB|GiB|TiB)");
  time = optional (types.strMatching "[0-9]+(\\.[0-9]+)? ?(ms|s|min|h|d)");

  # Tables without what is null, and without tables that are empty then.
  given =
    settings:
    let
      inside = builtins.mapAttrs (_: value: if builtins.isAttrs value then given value else value) settings;
      isGiven = name: inside.${name} != null && inside.${name} != { };
    in
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = inside.${name};
      }) (builtins.filter isGiven (builtins.attrNames inside))
    );

  configFile = (pkgs.formats.toml { }).generate "larder.toml" (given cfg.settings);

  # Secrets are read by systemd, as root, and handed to the service: they may belong to anyone, and are never in the store.
  credentials =
    (if cfg.sealKeyFile == null then [ ] else [ "seal-key:${toString cfg.sealKeyFile}" ])
    ++ (if cfg.adminTokenFile == null then [ ] else [ "admin-token:${toString cfg.adminTokenFile}" ]);
in
{
  options.services.larder = {
    enable = lib.mkEnableOption "Larder, a Nix binary cache";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ./package.nix { };
      description = "The package with bin/larder.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Whether to open the port of settings.listen.";
    };

    environmentFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/run/secrets/larder.env";
      description = "A file with LARDER_DATABASE_URL, LARDER_S3_ACCESS_KEY_ID and LARDER_S3_SECRET_ACCESS_KEY, where they are needed.";
    };

    sealKeyFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/run/secrets/larder-seal-key";
      description = "The seal key, the same for all replicas. Without it the server makes one of its own in its state directory.";
    };

    adminTokenFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/run/secrets/larder-admin-token";
      description = "A token that may do everything. Without it the server makes one, in /var/lib/larder/admin-token.";
    };

    settings = {
      listen = mkOption {
        type = types.strMatching ".+:[0-9]+";
        default = "127.0.0.1:8080";
        description = "Where to take requests: host:port.";
      };
      data = mkOption {
        type = types.str;
        default = "/var/lib/larder";
        description = "What the server keeps for itself. Another place than the default must be made, and be writable for the user larder.";
      };
      processes = number "Processes that share the address; each answers requests on a core of its own.";
      public_url = text "How clients reach the server, where a proxy is in front of it.";
      admin_token_file = text "Set by adminTokenFile.";

      log.level = choice [ "fatal" "error" "warn" "info" "debug" "trace" "silent" ] "What is logged.";
      log.requests = choice [ "all" "writes" "none" ] "Which requests get a line.";

      storage.engine = choice [ "disk" "s3" ] "Where NARs and narinfos are kept.";
      storage.path = text "A folder, for the engine disk.";
      storage.bucket = text "For the engine s3, as all that follows.";
      storage.prefix = text "Before every key; ends in a slash.";
      storage.region = text "The region of the bucket.";
      storage.endpoint = text "Of an engine other than AWS.";
      storage.path_style = flag "Buckets in the path and not in the host's name.";
      storage.access_key_id = text "Not a secret; better in environmentFile, with its other half.";
      storage.secret_access_key = text "A secret: in environmentFile, lest it be in the store for all to read.";
      storage.part_size = size "Of multipart uploads.";

      database.engine = choice [ "sqlite" "postgresql" ] "Where the index is kept.";
      database.path = text "A file, for the engine sqlite.";
      database.url = text "For the engine postgresql. With a password it belongs into environmentFile.";
      database.connections = number "To PostgreSQL, at most.";

      limits.narinfo = size "The largest narinfo.";
      limits.listing = size "The largest listing.";
      limits.log = size "The largest build log.";
      limits.json = size "The largest request of the API.";
      limits.nar = size "The largest NAR, as uploaded and unpacked.";
      limits.headers = size "The largest headers of a request.";
      limits.bodies = size "What all bodies that are read whole may take together.";
      limits.patience = time "How long a request waits for memory.";

      timeouts.headers = time "For a request's headers to come in.";
      timeouts.idle = time "For silence in the middle of a request or answer.";
      timeouts.keep_alive = time "Between requests.";
      timeouts.shutdown = time "For requests in flight to finish.";

      uploads.compression_level = optional (types.ints.between 1 19) "Of zstd: 1 is fast, 19 small.";
      uploads.workers = number "Threads that verify and compress.";
      uploads.verify_references = flag "Whether declared references must occur in the NAR.";
      uploads.memory = size "What uploads under way may take together; a quarter of the machine's memory by default.";
      uploads.pending = time "How long a narinfo waits for what it needs.";
      uploads.orphans = time "How long remains of dead uploads are left alone.";
      uploads.lease = time "For how long a replica holds what it works on, unless it says again that it does.";

      collection.interval = time "How often a cache with a retention is looked through.";
      collection.grace = time "How long what was just pushed is kept in any case.";
      collection.nar_lease = time "How long a NAR outlives its last path: clients remember narinfos.";

      deltas.enabled = flag "Whether deltas between NARs are made.";
      deltas.max_nar = size "The largest NAR on either side of one.";
      deltas.workers = number "Threads that make them.";
      deltas.memory = size "What they may use together.";
      deltas.keep = time "How long one that nobody asks for is kept.";
      deltas.max_size = size "What is kept of them, in each cache.";

      rate_limits.window = time "What the limits are counted over.";
      rate_limits.per_address = number "Requests from one address; 0 for no limit.";
      rate_limits.per_token = number "Requests with one token; 0 for no limit.";
      rate_limits.trust_forwarded_for = flag "Whether a proxy in front says whose a request is.";

      reads.redirect = choice [ "none" "presigned" "cdn" "accel" ] "Where NARs are fetched from.";
      reads.presigned_for = time "How long a presigned address is good for.";
      reads.cdn_url = text "Where the CDN has the bucket.";
      reads.accel_location = text "The internal location where nginx has the storage.";

      upstreams.timeout = time "For a cache behind a cache to answer.";
      upstreams.negative = time "For how long it is remembered that such a cache has not got a path.";
      upstreams.allow_private = optional (types.listOf types.str) "Networks of the inside that such caches may be in.";

      keys.seal_key_file = text "Set by sealKeyFile.";

      oidc.session = time "How long the tokens last that are given for those of an issuer.";
      oidc.issuers = optional (types.listOf (types.attrsOf types.anything)) "OpenID Connect issuers whose tokens count, each with its rules: sets of claims, caches and scopes.";

      metrics.enabled = flag "Whether there are metrics for Prometheus.";
      metrics.listen = text "Another host:port for them, without a token.";

      traces.endpoint = text "Where traces are sent to, by OTLP over HTTP.";
      traces.service = text "What they call the service.";
      traces.sample = optional (types.numbers.between 0 1) "Which part of requests is traced, from 0 to 1.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.larder.settings = {
      # %d of the unit: where systemd puts credentials.
      keys.seal_key_file = lib.mkIf (cfg.sealKeyFile != null) "/run/credentials/larder.service/seal-key";
      admin_token_file = lib.mkIf (cfg.adminTokenFile != null) "/run/credentials/larder.service/admin-token";
    };

    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall [
      (lib.toInt (builtins.head (builtins.match ".*:([0-9]+)" cfg.settings.listen)))
    ];

    systemd.services.larder = {
      description = "Larder, a Nix binary cache";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [
        "network-online.target"
        "postgresql.service"
      ];
      environment.NODE_ENV = "production";
      serviceConfig = import ./hardening.nix // {
        Type = "exec";
        ExecStart = "${cfg.package}/bin/larder serve --config ${configFile}";
        Restart = "on-failure";
        RestartSec = "2s";
        TimeoutStopSec = "45s";
        LimitNOFILE = 65536;
        LoadCredential = credentials;
        EnvironmentFile = lib.mkIf (cfg.environmentFile != null) (toString cfg.environmentFile);

        DynamicUser = true;
        User = "larder";
        StateDirectory = "larder";
        StateDirectoryMode = "0700";
        UMask = "0077";
      };
    };
  };
}
