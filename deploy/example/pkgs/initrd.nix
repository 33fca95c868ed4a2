# The first programs a machine runs: load the drivers, mount the root, go on with its `init`. All that depends on the
# machine comes from the kernel's command line, so one initrd serves every configuration.
#
#   root=DEVICE rootfstype=TYPE   the root; root=tmpfs gives an empty one
#   larder.store=TAG              the store, read-only, from a 9p share of the host
#   init=FILE                     what to run on the root
{ final }:
let
  init = builtins.toFile "init" ''
    #!/bin/ash
    export PATH=/bin
    mkdir -p /proc /sys /dev /target
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs devtmpfs /dev
    fail() {
      echo "initrd: $1" > /dev/console
      echo "initrd: a shell, to look around; leaving it reboots" > /dev/console
      ash < /dev/console > /dev/console 2>&1
      reboot -f
    }
    rootfstype=ext4
    for word in $(cat /proc/cmdline); do
      case $word in
        root=*) root=''${word#root=} ;;
        rootfstype=*) rootfstype=''${word#rootfstype=} ;;
        init=*) init=''${word#init=} ;;
        larder.store=*) store=''${word#larder.store=} ;;
      esac
    done
    for module in /modules/*.ko; do insmod $module || echo "initrd: cannot load $module"; done
    if [ "$root" = tmpfs ]; then
      mount -t tmpfs -o mode=0755 root /target || fail "no memory for a root"
    else
      tries=0
      until [ -b "$root" ] || [ $tries = 100 ]; do tries=$((tries + 1)); sleep 0.1; done
      mount -t $rootfstype $root /target || fail "cannot mount $root ($rootfstype) as the root"
    fi
    if [ -n "$store" ]; then
      mkdir -p /target/nix/store
      mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144,cache=loose $store /target/nix/store \
        || fail "the host shares no store as $store"
    fi
    mkdir -p /target/proc /target/sys /target/dev
    for each in proc sys dev; do mount --move /$each /target/$each; done
    exec switch_root /target $init
  '';
in
final.build {
  name = "initrd";
  script = ''
    mkdir -p root/bin root/modules
    cp ${final.busybox}/bin/busybox root/bin
    for applet in ash cat insmod ls mkdir mount reboot sleep switch_root; do ln -s busybox root/bin/$applet; done
    cp ${final.linux}/modules/* root/modules
    cp ${init} root/init
    chmod -R 0755 root
    # The archive is a function of the contents: no times, no inode or device numbers, one order.
    find root -exec touch -h -d @1 {} +
    mkdir $out
    (cd root && find . | sort | cpio -o -H newc -R 0:0 --renumber-inodes --ignore-devno) > $out/initrd
  '';
}
