#!/bin/bash
# Ceph with three stores and an S3 gateway on 127.0.0.1: for the tests of object lock only.
#
#   ceph.sh install     by apt-get: some 60 seconds
#   ceph.sh up DIR      starts it, with everything in DIR, and a user
#   ceph.sh kill DIR N  kills store N (0 to 2)
#   ceph.sh start DIR N starts it again
#   ceph.sh down DIR    ends all that is running
set -euo pipefail
export LC_ALL=C
STORES=3 MON=16789 GATEWAY=17480
PACKAGES="curl radosgw ceph-mon ceph-osd ceph-mgr ceph-common ceph-base"

fail() { printf 'ceph.sh: %s\n' "$*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

install() {
    command -v curl >/dev/null && command -v radosgw >/dev/null && command -v ceph-osd >/dev/null && return
    as_root apt-get update -q
    # shellcheck disable=SC2086 # several packages
    DEBIAN_FRONTEND=noninteractive as_root apt-get install -qy --no-install-recommends $PACKAGES ||
        fail "the packages $PACKAGES could not be installed: the messages are above"
}

configure() { # DIR
    mkdir -p "$1/mon" "$1/log" "$1/run" "$1/rgw"
    cat >"$1/ceph.conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon_host = [v2:127.0.0.1:$MON,v1:127.0.0.1:$((MON + 1))]
public_network = 127.0.0.0/8
public_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_allow_insecure_global_id_reclaim = false
ms_mon_client_mode = crc
ms_client_mode = crc
ms_cluster_mode = crc
ms_service_mode = crc
ms_mon_cluster_mode = crc
ms_mon_service_mode = crc
mon_data_avail_warn = 1
mon_data_avail_crit = 0
osd_crush_chooseleaf_type = 0
osd_pool_default_size = $STORES
osd_pool_default_min_size = 2
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
rgw_rados_pool_pg_num_min = 8
mon_max_pg_per_osd = 1000
mon_data = $1/mon
mon_osd_down_out_interval = 600
osd_data = $1/osd.\$id
osd_objectstore = bluestore
bluestore_block_size = 4294967296
bluestore_block_db_create = false
osd_memory_target = 939524096
osd_heartbeat_grace = 6
osd_heartbeat_interval = 2
mon_osd_min_down_reporters = 1
log_file = $1/log/\$name.log
admin_socket = $1/run/\$name.asok
pid_file = $1/run/\$name.pid
run_dir = $1/run
keyring = $1/keyring
rgw_data = $1/rgw
rgw_frontends = beast endpoint=127.0.0.1:$GATEWAY
rgw_enable_usage_log = false
debug_mon = 0
debug_osd = 0
CONF
}

await() { # SECONDS WHAT COMMAND...
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "$what did not happen in time"
        sleep 0.2
    done
}

all_up() { "${CEPH[@]}" osd stat | grep -q "$STORES up"; }
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$GATEWAY") 2>/dev/null; }

up() { # DIR
    local dir=$1 n id
    command -v radosgw >/dev/null || fail "Ceph is not installed: tests/engines/ceph.sh install"
    configure "$dir"
    export CEPH_CONF=$dir/ceph.conf
    CEPH=(ceph -c "$CEPH_CONF" --connect-timeout 20)
    {
        monmaptool --create --clobber --fsid "$(sed -n 's/^fsid = //p' "$CEPH_CONF")" \
            --addv a "[v2:127.0.0.1:$MON,v1:127.0.0.1:$((MON + 1))]" "$dir/monmap"
        ceph-mon -c "$CEPH_CONF" -i a --mkfs --monmap "$dir/monmap" --no-mon-config
        ceph-mon -c "$CEPH_CONF" -i a --no-mon-config
        "${CEPH[@]}" -s
        for n in $(seq 0 $((STORES - 1))); do
            id=$(cat /proc/sys/kernel/random/uuid)
            "${CEPH[@]}" osd new "$id" "$n"
            mkdir -p "$dir/osd.$n"
            ceph-osd -c "$CEPH_CONF" -i "$n" --mkfs --osd-uuid "$id" --no-mon-config
            "${CEPH[@]}" osd crush add "osd.$n" 1.0 root=default "host=h$n"
        done
        for n in $(seq 0 $((STORES - 1))); do ceph-osd -c "$CEPH_CONF" -i "$n"; done
    } >"$dir/log/up.log" 2>&1 || { tail -n 30 "$dir/log/up.log" >&2; fail "it does not start"; }
    await 60 "that all stores are up" all_up
    radosgw -c "$CEPH_CONF" -n client.rgw.a --no-mon-config >>"$dir/log/up.log" 2>&1
    await 120 "that the gateway listens" listening
    radosgw-admin -c "$CEPH_CONF" user create --uid=test --display-name=test --access-key=testkey00000000000 \
        --secret=testsecret0000000000000000 >>"$dir/log/up.log" 2>&1 || fail "no user could be made"
    printf 'AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\nAWS_REGION=%s\nAWS_ENDPOINT_URL=%s\n' testkey00000000000 \
        testsecret0000000000000000 us-east-1 "http://127.0.0.1:$GATEWAY"
}

down() { # DIR
    local file
    for file in "$1"/run/*.pid; do
        [ -f "$file" ] || continue
        kill -KILL "$(cat "$file")" 2>/dev/null || true
        rm -f "$file"
    done
}

case ${1:-} in
install) install ;;
up) up "$2" ;;
kill) kill -KILL "$(cat "$2/run/osd.$3.pid")"; rm -f "$2/run/osd.$3.pid" ;;
start) ceph-osd -c "$2/ceph.conf" -i "$3" >>"$2/log/up.log" 2>&1 ;;
down) down "$2" ;;
*) fail "install, up, kill, start or down" ;;
esac
