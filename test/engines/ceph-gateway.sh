#!/bin/bash
# usage: ceph-gateway.sh DIRECTORY S3_PORT MONITOR_PORT ACCESS_KEY SECRET_KEY [PAUSE]
# A throw-away S3 engine: one Ceph monitor, one OSD that keeps everything in memory, one RADOS gateway.
# Prints "ready" once requests are answered, and runs until standard input closes; then it ends the daemons and
# removes DIRECTORY. Needs no privileges. With PAUSE, a gateway that is killed (gateway.pid) comes back after so many seconds.
set -euo pipefail
directory=$1 port=$2 monitor_port=$3 access_key=$4 secret_key=$5 pause=${6:-}
mkdir -p "$directory"/{monitor,osd,gateway,log}
configuration=$directory/ceph.conf
cluster=$(cat /proc/sys/kernel/random/uuid)
disk=$(cat /proc/sys/kernel/random/uuid)

cat >"$configuration" <<CONF
[global]
fsid = $cluster
mon_host = [v2:127.0.0.1:$monitor_port]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
ms_bind_msgr1 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
# With authentication off, the gateway hangs unless monitor connections are plain too.
ms_mon_client_mode = crc
run_dir = $directory
admin_socket = $directory/\$name.\$pid.asok
pid_file = $directory/\$name.ceph-pid
log_file = $directory/log/\$name.log
crash_dir = $directory/log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
[mon]
mon_data = $directory/monitor
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
# A nearly full disk must not stop the monitor: nothing of ours is on it.
mon_data_avail_crit = 1
mon_data_avail_warn = 2
mon_cluster_log_to_file = false
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
[osd]
osd_data = $directory/osd
osd_objectstore = memstore
memstore_device_bytes = 8589934592
[client]
rgw_data = $directory/gateway
# Without tcp_nodelay many requests wait 40 ms for a delayed acknowledgement.
rgw_frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw_enable_apis = s3
rgw_thread_pool_size = 64
rgw_relaxed_region_enforcement = true
rgw_dynamic_resharding = false
rgw_override_bucket_index_max_shards = 1
rgw_run_sync_thread = false
# Deleted objects stay in memory until collected; the default is two hours.
rgw_gc_obj_min_wait = 30
rgw_gc_processor_period = 30
rgw_gc_processor_max_time = 30
CONF

daemons=()
stop() {
  trap - EXIT
  # Nothing is worth saving, so nothing needs a chance to save it.
  kill -KILL "${daemons[@]}" 2>/dev/null || true
  [ ! -s "$directory/gateway.pid" ] || kill -KILL "$(cat "$directory/gateway.pid")" 2>/dev/null || true
  rm -rf "$directory"
}
trap stop EXIT
trap 'exit 1' TERM INT HUP

# Standard input is kept on descriptor 3 for the final wait: no daemon may inherit it.
exec 3<&0 </dev/null
start() {
  local name=$1
  shift
  "$@" >"$directory/log/$name.out" 2>&1 3<&- &
  daemons+=($!)
}
explain() {
  tail -n 5 "$directory"/log/*.out >&2
  exit 1
}

monmaptool --create --fsid "$cluster" --addv a "[v2:127.0.0.1:$monitor_port]" "$directory/monmap" >/dev/null
ceph-mon -c "$configuration" -i a --mkfs --monmap "$directory/monmap" >"$directory/log/mkfs.out" 2>&1 || explain
start monitor ceph-mon -c "$configuration" -i a -f
id=$(ceph -c "$configuration" --connect-timeout 60 osd new "$disk" 3<&-)
ceph-osd -c "$configuration" -i "$id" --mkfs --osd-uuid "$disk" >"$directory/log/mkfs.out" 2>&1 || explain
start osd ceph-osd -c "$configuration" -i "$id" -f
timeout 60 radosgw-admin -c "$configuration" user create --uid=test --display-name=test \
  --access-key="$access_key" --secret-key="$secret_key" >"$directory/log/user.out" 2>&1 3<&- || explain
gateway_command=(radosgw -c "$configuration" -n client.rgw -f)
if [ -n "$pause" ]; then
  gateway_command=("$(dirname "$0")/restarting.sh" "$directory/gateway.pid" "$pause" "${gateway_command[@]}")
fi
start gateway "${gateway_command[@]}"
gateway=${daemons[-1]}
for _ in $(seq 600); do
  if (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo ready
    cat <&3 >/dev/null
    exit 0
  fi
  kill -0 "$gateway" 2>/dev/null || explain
  sleep 0.1
done
explain
