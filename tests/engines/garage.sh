#!/bin/bash
# Garage, a distributed object store, with three nodes on 127.0.0.11 to 127.0.0.13: for the tests only.
#
#   garage.sh install         builds it, once, into the cache directory: some 6 minutes on 2 cores
#   garage.sh up DIR          starts three nodes that keep everything in DIR, with a key and a bucket
#   garage.sh kill DIR N      kills node N, as a power cut does
#   garage.sh start DIR N     starts it again
#   garage.sh down DIR        ends all that are running
set -euo pipefail
VERSION=2.5.0
CACHE=${BYGONE_ENGINES:-${XDG_CACHE_HOME:-$HOME/.cache}/bygone-engines}
GARAGE=$CACHE/bin/garage
KEY=GKaaaaaaaaaaaaaaaaaaaaaaaa
SECRET=$(printf 'b%.0s' {1..64})
NODES=3

fail() { printf 'garage.sh: %s\n' "$*" >&2; exit 1; }

install() {
    [ -x "$GARAGE" ] && return
    command -v cargo >/dev/null || fail "there is no cargo to build Garage with"
    # Little is optimised: that halves the time it takes to build.
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_TARGET_DIR="$CACHE/build" \
        cargo install garage --version "$VERSION" --root "$CACHE" --locked --no-default-features \
        --features bundled-libs,lmdb || fail "Garage $VERSION could not be installed: its messages are above"
    rm -rf "$CACHE/build"
}

configure() { # DIR N SECRET
    mkdir -p "$1/n$2/meta" "$1/n$2/data"
    cat >"$1/n$2/garage.toml" <<CONF
metadata_dir = "$1/n$2/meta"
data_dir = "$1/n$2/data"
db_engine = "lmdb"
lmdb_map_size = "1G"
metadata_fsync = false
data_fsync = false
disable_scrub = true
replication_factor = 3
compression_level = "none"
rpc_bind_addr = "127.0.0.$((10 + $2)):3901"
rpc_public_addr = "127.0.0.$((10 + $2)):3901"
rpc_bind_outgoing = true
rpc_secret = "$3"
rpc_timeout_msec = 3000
rpc_ping_timeout_msec = 1500
bootstrap_peers = []
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.$((10 + $2)):3900"
[admin]
api_bind_addr = "127.0.0.$((10 + $2)):3903"
CONF
}

run() { # DIR N: begins, and waits until it listens
    RUST_LOG=garage=info setsid "$GARAGE" -c "$1/n$2/garage.toml" server >>"$1/n$2/log" 2>&1 </dev/null &
    echo $! >"$1/n$2/pid"
    for _ in $(seq 300); do
        (exec 3<>"/dev/tcp/127.0.0.$((10 + $2))/3900") 2>/dev/null && (exec 3<>"/dev/tcp/127.0.0.$((10 + $2))/3901") 2>/dev/null && return
        sleep 0.05
    done
    tail -n 20 "$1/n$2/log" >&2
    fail "node $2 does not listen: are the ports 3900 to 3903 of 127.0.0.$((10 + $2)) taken?"
}

on() { local dir=$1 n=$2; shift 2; "$GARAGE" -c "$dir/n$n/garage.toml" "$@"; }

up() { # DIR
    local secret n
    [ -x "$GARAGE" ] || fail "Garage is not installed: tests/engines/garage.sh install"
    secret=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
    for n in $(seq $NODES); do configure "$1" "$n" "$secret"; run "$1" "$n"; done
    for n in $(seq 2 $NODES); do on "$1" 1 node connect "$(on "$1" "$n" node id -q)" >/dev/null 2>&1; done
    for n in $(seq $NODES); do
        on "$1" 1 layout assign "$(on "$1" "$n" node id -q | cut -c 1-16)" -z "z$n" -c 10G -t "n$n" >/dev/null
    done
    on "$1" 1 layout apply --version 1 >/dev/null
    on "$1" 1 key import --yes -n test "$KEY" "$SECRET" >/dev/null
    for _ in $(seq 50); do on "$1" 1 bucket create backup >/dev/null 2>&1 && break; sleep 0.1; done
    on "$1" 1 bucket allow --read --write --owner backup --key test >/dev/null
    printf 'AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\nAWS_REGION=garage\n' "$KEY" "$SECRET"
}

end() { # DIR N
    local pid
    pid=$(cat "$1/n$2/pid" 2>/dev/null) || return 0
    kill -KILL "$pid" 2>/dev/null || true
    rm -f "$1/n$2/pid"
}

case ${1:-} in
install) install ;;
up) up "$2" ;;
kill) end "$2" "$3" ;;
start)
    run "$2" "$3"
    # The others need not wait for their next try.
    for n in $(seq $NODES); do
        [ "$n" = "$3" ] || on "$2" "$n" node connect "$(on "$2" "$3" node id -q)" >/dev/null 2>&1 || true
    done
    ;;
down) for n in $(seq $NODES); do end "$2" "$n"; done ;;
*) fail "install, up, kill, start or down" ;;
esac
