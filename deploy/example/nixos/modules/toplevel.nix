# The system as one store path, `config.system.build.toplevel`.
{
  lib,
  config,
  pkgs,
  ...
}:
let
  build = config.system.build;
  assertionFailures = builtins.filter ({ assertion, ... }: !assertion) config.assertions;
  describe =
    { message, option, ... }:
    "${message}\n  the option `${lib.showOption option.path}' is ${
      if option.isDefined then
        "set at ${builtins.concatStringsSep ", " option.setAt}"
      else
        "not set (declared at ${option.declaredAt})"
    }";

  activate = pkgs.writeScript "activate" ''
    # Makes /etc, the users' homes and the like what the configuration says. May be run at any time, again and again.
    toplevel=$1

    # Points a link somewhere else without a moment in which it is missing. An activation that was cut off may have
    # left the new name behind.
    replace_link() {
      ln -sfn "$1" "$2.larder-new"
      mv -f -T "$2.larder-new" "$2"
    }

    mkdir -p /etc /bin /run /tmp /var/log /var/lib /root
    chmod 1777 /tmp
    replace_link ${pkgs.busybox}/bin/ash /bin/sh

    # All files of /etc that are links change with this one.
    replace_link $toplevel/etc /etc/static
    (cd /etc/static/ && find -L . -type f | sed 's|^\./||') | while read -r file; do
      case $file in *.mode) continue ;; esac
      mkdir -p "/etc/$(dirname "$file")"
      if [ -e "/etc/static/$file.mode" ]; then
        rm -f "/etc/$file.larder-new"
        cp -L "/etc/static/$file" "/etc/$file.larder-new"
        chmod "$(cat "/etc/static/$file.mode")" "/etc/$file.larder-new"
        mv -f "/etc/$file.larder-new" "/etc/$file"
      elif [ "$(readlink "/etc/$file")" != "/etc/static/$file" ]; then
        replace_link "/etc/static/$file" "/etc/$file"
      fi
    done
    # What the last system had and this one has not.
    find /etc -name '*.larder-new' -exec rm -f {} +
    find /etc -type l | while read -r link; do
      case $(readlink "$link") in /etc/static/*) [ -e "$link" ] || rm "$link" ;; esac
    done
    ${lib.concatLines (
      lib.mapAttrsToList (name: text: "# ${name}\n${text}") config.system.activation
    )}
    replace_link $toplevel /run/current-system
  '';

  # Keeps one daemon running; the leader of the daemon's session.
  keepRunning = pkgs.writeScript "keep-running" ''
    name=$1 package=$2 state=/run/daemons/$1
    mkdir -p $state
    echo $$ > $state/pid
    echo $package > $state/package
    stop() {
      trap : TERM
      kill -TERM -$$
      wait
      rm -rf $state
      exit 0
    }
    trap stop TERM
    while :; do
      $package &
      wait $! || echo "$name ended: $?"
      sleep 1 &
      wait $!
    done
  '';

  switch = pkgs.writeScript "switch-to-configuration" ''
    # switch-to-configuration switch|boot|test|dry-activate
    # Starts, stops and restarts the daemons that differ between the running system and this one, and no others.
    # The boot menu is not its business: whoever makes generations writes that.
    toplevel=$(dirname $(dirname $(readlink -f "$0")))
    action=''${1:-}
    case $action in
      boot) exit 0 ;;
      switch | test | dry-activate) ;;
      *) echo "usage: $0 switch|boot|test|dry-activate" >&2; exit 2 ;;
    esac

    would() {
      if [ $action = dry-activate ]; then echo "would $*"; else echo "$*"; fi
    }
    running() {
      [ -e /run/daemons/$1/pid ] && kill -0 $(cat /run/daemons/$1/pid) 2>/dev/null
    }
    stop() {
      pid=$(cat /run/daemons/$1/pid)
      kill -TERM $pid
      tries=0
      # Its state goes when all is over; the process may stay as a zombie until somebody asks for its status.
      while [ -e /run/daemons/$1 ] && kill -0 $pid 2>/dev/null; do
        tries=$((tries + 1))
        if [ $tries -gt 100 ]; then kill -KILL -$pid; rm -rf /run/daemons/$1; break; fi
        sleep 0.1
      done
    }
    start() {
      setsid ${keepRunning} $1 $toplevel/daemons/$1 < /dev/null > /var/log/$1.log 2>&1 &
    }

    # Without the directory nothing supervises: a system that is being installed, not one that runs.
    changed= new=
    if [ -d /run/daemons ]; then
      for name in $(ls /run/daemons); do
        running $name || continue
        if [ ! -e $toplevel/daemons/$name ]; then
          would stop $name
          [ $action = dry-activate ] || stop $name
        elif [ "$(readlink -f $(cat /run/daemons/$name/package))" != "$(readlink -f $toplevel/daemons/$name)" ]; then
          changed="$changed $name"
        fi
      done
      for name in $(ls $toplevel/daemons); do running $name || new="$new $name"; done
    fi
    if [ $action != dry-activate ]; then
      for name in $changed; do stop $name; done
      $toplevel/activate
    fi
    for name in $changed; do
      would restart $name
      [ $action = dry-activate ] || start $name
    done
    for name in $new; do
      would start $name
      [ $action = dry-activate ] || start $name
    done
  '';

  init = pkgs.writeScript "init" ''
    # The first process on the root: mounts what there is to mount, activates, goes on as busybox's init.
    # Whatever goes wrong, the first process must not end.
    set +e
    toplevel=$1
    echo "Starting ${config.system.label}"
    mount -o remount,rw / 2>/dev/null
    mkdir -p /proc /sys /dev /run /tmp
    [ -d /proc/1 ] || mount -t proc proc /proc
    [ -d /sys/kernel ] || mount -t sysfs sysfs /sys
    [ -c /dev/null ] || mount -t devtmpfs devtmpfs /dev
    mkdir -p /dev/pts
    mount -t devpts devpts /dev/pts
    mount -t tmpfs -o mode=0755 run /run
    mkdir /run/daemons
    $toplevel/activate
    mount -a
    ip link set lo up
    hostname ${config.networking.hostName}
    replace_link() { ln -s "$1" "$2.new" && mv -f -T "$2.new" "$2"; }
    replace_link $toplevel /run/booted-system
    cat > /run/inittab <<END
    ::sysinit:$toplevel/bin/switch-to-configuration test
    ${
      if config.boot.consoleShell then "::respawn:-/bin/sh" else "::once:/bin/sh -c 'echo The machine is up'"
    }
    ::ctrlaltdel:reboot
    ::shutdown:umount -a -r
    END
    replace_link /run/inittab /etc/inittab
    export PATH=/run/current-system/sw/bin
    exec init < /dev/console > /dev/console 2>&1
  '';

  # How to boot the system that lies at `toplevel`.
  bootEntry = toplevel: {
    inherit (config.system) label;
    inherit (pkgs) system;
    inherit toplevel;
    kernel = "${config.boot.kernel}/vmlinuz";
    inherit (config.boot) kernelParams;
    initrd = "${config.boot.initrd}/initrd";
    init = "${toplevel}/init";
  };

  bootspec = {
    "org.nixos.bootspec.v1" = bootEntry "@toplevel@";
    "org.nixos.specialisation.v1" = builtins.mapAttrs (_: variant: {
      "org.nixos.bootspec.v1" = variant.bootEntry "${variant.toplevel}";
      "org.nixos.specialisation.v1" = { };
    }) build.specialisations;
    # How whoever writes the boot menu is to write it: this system has no installer of its own.
    "org.larder.boot-menu.v1" = {
      inherit (config.boot.loader) timeout;
      loaders =
        lib.optional config.boot.loader.grub.enable "grub"
        ++ lib.optional config.boot.loader.systemd-boot.enable "systemd-boot";
    }
    // (if config.boot.loader.grub.enable then { grubDevice = config.boot.loader.grub.device; } else { });
  };
in
{
  options = {
    assertions = lib.mkOption {
      type = lib.types.listOf lib.types.unmergeable;
      default = [ ];
      description = "What must hold of the configuration: { assertion; message; option; }, the option it is about.";
    };
    boot.consoleShell = lib.mkEnableOption "a root shell on the console, for machines that nobody else gets at";
    system = {
      label = lib.mkOption {
        type = lib.types.str;
        default = "${config.networking.hostName}, ${config.boot.kernel.name}";
        description = "What the boot menu calls the system.";
      };
      activation = lib.mkOption {
        type = lib.types.attrsOf lib.types.lines;
        default = { };
        description = "Shell scripts that every activation runs, in the order of their names.";
      };
      build = lib.mkOption {
        type = lib.types.attrsOf lib.types.unmergeable;
        default = { };
        description = "What is made of the configuration.";
      };
    };
  };
  config.system.build = {
    inherit bootEntry;
    bootspec = pkgs.writeText "boot.json" (builtins.toJSON bootspec);
    toplevel =
      if assertionFailures != [ ] then
        throw "the configuration is refused:\n- ${
          builtins.concatStringsSep "\n- " (map describe assertionFailures)
        }"
      else
        pkgs.build {
          name = "system-${config.networking.hostName}";
          inherit (config.system) label;
          inherit (pkgs) system;
          kernelParams = builtins.concatStringsSep " " config.boot.kernelParams;
          script = ''
            mkdir -p $out/bin
            ln -s ${config.boot.kernel}/vmlinuz $out/kernel
            ln -s ${config.boot.initrd}/initrd $out/initrd
            ln -s ${build.sw} $out/sw
            ln -s ${build.etc} $out/etc
            ln -s ${build.daemons} $out/daemons
            printf '%s' "$kernelParams" > $out/kernel-params
            printf '%s' "$label" > $out/label
            printf '%s' "$system" > $out/system
            sed "s|@toplevel@|$out|g" ${build.bootspec} > $out/boot.json
            cp ${switch} $out/bin/switch-to-configuration
            ${lib.concatLines (
              lib.mapAttrsToList (name: variant: ''
                mkdir -p $out/specialisation
                ln -s ${variant.toplevel} $out/specialisation/${name}'') build.specialisations
            )}
            for script in activate:${activate} init:${init}; do
              { echo "#!${pkgs.busybox}/bin/ash"; echo "exec ''${script#*:} $out \"\$@\""; } > $out/''${script%%:*}
              chmod 0555 $out/''${script%%:*}
            done
          '';
        };
  };
}
