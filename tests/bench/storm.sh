#!/bin/bash
# A storm of machines, whole boot chains: ours beside dnsmasq (DHCP, TFTP) with nginx (HTTP), with a
# 1 MB loader each and an image of 8 MB, then of 50 MB, where the bytes dominate both; first all in
# the same moment, then so slowly that either server brings all of them up at the first try.
# Then ours alone with more and more machines. Both ends share this machine's cores, so the server's
# own CPU time stands beside each time.
#
# A machine whose firmware gives up is powered on again, so that there is a last machine wherever a
# server brings all of them up in the end; a server that never does has no ratio.
#
#   BINARY    the daemon to measure, and the fleet (default: target/release/bootwright)
#   MACHINES  how many (default: 1000)
#   SPREADS   seconds from the first power-on to the last, a storm each (default: "0 10")
#   CYCLES    how often a machine that gave up is powered on again (default: 5)
#   LIMIT     seconds after which a storm ends (default: 300)
#   FLEETS    the sizes of the last part (default: 10 100 1000 4000)
#   ROUNDS    which parts run (default: "8 50 fleets")
#
# Everything lives in network namespaces that are joined to nothing, and goes away at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/common.sh

readonly binary=$(readlink -m "${BINARY:-${CARGO_TARGET_DIR:-target}/release/bootwright}")
readonly machines=${MACHINES:-1000} fleets=${FLEETS:-10 100 1000 4000} rounds=${ROUNDS:-8 50 fleets}
readonly spreads=${SPREADS:-0 10} cycles=${CYCLES:-5} limit=${LIMIT:-300}
readonly dnsmasq=/usr/sbin/dnsmasq nginx=/usr/sbin/nginx
readonly net=bwstorm-$$
readonly address=192.0.2.1 host=192.0.2.254 fleet=198.18.0.0/16 relay=198.18.0.1
work=$(mktemp -d)
readonly work
mkdir "$work/logs"
servers=()
declare -A last up

need "$binary" "$dnsmasq" "$nginx" /usr/bin/jq

clean_up_with stop_servers

stop_servers() {
    stop "${servers[@]}"
    servers=()
}

lay_network "$address/24" "$host/24"
route_clients "$fleet" "$host"
ulimit -n "$(ulimit -Hn)"

# Both serve the same files: MEGABYTES of image, a quarter of it kernel.
make_files() {
    rm -rf "$work/files" "$work/images"
    mkdir -p "$work/files" "$work/images"
    head -c 1000000 /dev/urandom > "$work/files/snponly.efi"
    cp "$work/files/snponly.efi" "$work/files/undionly.kpxe"
    head -c $(($1 * 250000)) /dev/urandom > "$work/files/linux"
    head -c $(($1 * 750000)) /dev/urandom > "$work/files/initrd"
    printf '#!ipxe\nkernel linux\ninitrd initrd\nboot\n' > "$work/files/boot.ipxe"
    "$binary" image add storm --images "$work/images" --kernel "$work/files/linux" --initrd "$work/files/initrd" > /dev/null
    chmod -R a+rX "$work"
}

start_bootwright() {
    cat > "$work/bootwright.toml" << END
[network]
interfaces = ["eno2"]
[paths]
scripts = "$PWD/ipxe-scripts"
answers = "$PWD/config/answers"
images = "images"
loaders = ["files"]
[state]
path = "state"
[admin]
socket = "admin.sock"
END
    cat > "$work/inventory.toml" << END
[[subnet]]
cidr  = "$fleet"
pool  = ["198.18.1.0-198.18.63.255"]
lease = "1h"
[profile.fleet]
image  = "storm"
boot   = "live"
script = "live"
[[rule]]
match   = { arch = "x86_64" }
profile = "fleet"
END
    rm -rf "$work/state"
    ip netns exec "$net-s" "$binary" serve --config "$work/bootwright.toml" > "$work/logs/bootwright.log" 2>&1 &
    servers=($!)
    await bash -c "'$binary' status --json --socket '$work/admin.sock' | jq --exit-status '.artifacts.unserved == []'"
}

start_peers() {
    ip netns exec "$net-s" "$dnsmasq" --keep-in-foreground --conf-file=/dev/null --port=0 --user=root --pid-file \
        --interface=eno2 --dhcp-leasefile="$work/dnsmasq.leases" --dhcp-lease-max=150000 --quiet-dhcp --no-ping \
        --dhcp-range=198.18.1.0,198.18.63.255,255.255.0.0,1h --dhcp-userclass=set:ipxe,iPXE \
        --dhcp-boot="tag:!ipxe,snponly.efi,,$address" --dhcp-boot="tag:ipxe,http://$address/boot.ipxe,,$address" \
        --enable-tftp --tftp-root="$work/files" --tftp-max=10000 --quiet-tftp > "$work/logs/dnsmasq.log" 2>&1 &
    servers=($!)
    cat > "$work/nginx.conf" << END
daemon off;
user root;
pid $work/nginx.pid;
worker_processes auto;
worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
    access_log $work/logs/access.log;
    sendfile on;
    tcp_nopush on;
    server { listen $address:80 backlog=4096; root $work/files; }
}
END
    ip netns exec "$net-s" "$nginx" -c "$work/nginx.conf" -e "$work/logs/nginx.log" > "$work/logs/nginx.out" 2>&1 &
    servers+=($!)
    await ip netns exec "$net-s" bash -c "exec 3<> /dev/tcp/$address/80"
}

await() {
    for _ in $(seq 100); do
        "$@" > /dev/null 2>&1 && return
        sleep 0.1
    done
    echo "storm bench: no answer: $*: $(tail -n 3 "$work"/logs/*)" >&2
    exit 1
}

# The servers' processes with their children.
processes() {
    for pid in "${servers[@]}"; do
        echo "$pid"
        cat "/proc/$pid/task/$pid/children"
    done
}

# User and system time in milliseconds, and the peak of resident memory in MB, over all of them.
used() {
    local pid ms=0 mb=0
    for pid in $(processes); do
        ms=$((ms + $(awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) * 1000 / hz) }' "/proc/$pid/stat")))
        mb=$((mb + $(awk '/^VmHWM:/ { print int($2 / 1024) }' "/proc/$pid/status")))
    done
    echo "$ms $mb"
}

# NAME MACHINES SPREAD: one storm.
storm() {
    local before ms mb
    read -r before _ < <(used)
    ip netns exec "$net-c" "$binary" storm --server "$address" --relay "$relay" --machines "$2" --spread "$3" \
        --power-cycles "$cycles" --time-limit "$limit" --json > "$work/report" 2> "$work/progress" || true
    read -r ms mb < <(used)
    jq -r --arg name "$1" --arg ms $((ms - before)) --arg mb "$mb" '
        def stage(s): first(.stages[] | select(.stage == s) | .p99_ms | round) // 0;
        def gb: .bytes / 1e9;
        "  \($name)\t\(.machines) machines\t\(.up) up\tpowered on again \(.power_cycled)\tlast \(.last_up_s // 0 | . * 100 | round / 100) s\tsaid again \(.repeated)\tserver CPU \($ms) ms, \(if gb > 0 then ($ms | tonumber) / 1000 / gb * 100 | round / 100 else 0 end) s/GB\tpeak \($mb) MB",
        "    p99 ms: DHCP \(stage("firmware")) loader \(stage("loader")) iPXE \(stage("ipxe")) script \(stage("script")) kernel \(stage("kernel")) initrd \(stage("initrd"))",
        (.setbacks[] | "    \(.machines) x powered on again at \(.stage): \(.sentence) \(.detail)"),
        (.failures[] | "    \(.machines) failed at \(.stage): \(.sentence) \(.detail)")' "$work/report"
    last[$1]=$(jq -r '.last_up_s // 0' "$work/report")
    up[$1]=$(jq -r '.up == .machines' "$work/report")
}

for megabytes in $rounds; do
    [ "$megabytes" != fleets ] || continue
    make_files "$megabytes"
    for spread in $spreads; do
        echo "== $machines machines within $spread s, a 1 MB loader and $megabytes MB of image each, $(nproc) cores shared by both ends"
        start_peers && storm dnsmasq+nginx "$machines" "$spread" && stop_servers
        start_bootwright && storm bootwright "$machines" "$spread" && stop_servers
        if [ "${up[bootwright]} ${up[dnsmasq+nginx]}" = "true true" ]; then
            awk -v o="${last[bootwright]}" -v p="${last[dnsmasq+nginx]}" \
                'BEGIN { printf "  time to the last machine, dnsmasq+nginx : ours %.2f\n", p / o }'
        else
            echo "  no ratio: a machine never came up"
        fi
    done
done

case $rounds in *fleets*)
    echo "== ours as the fleet grows, 8 MB of image each"
    make_files 8
    for size in $fleets; do
        start_bootwright && storm "$size" "$size" 0 && stop_servers
        awk -v t="${last[$size]}" -v n="$size" 'BEGIN { printf "    %.2f ms a machine\n", 1000 * t / n }'
    done
esac
