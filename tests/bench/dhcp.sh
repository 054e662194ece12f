#!/bin/bash
# Full DHCP exchanges a second: ours (every lease on disk before its ACK) beside Kea and dnsmasq, in
# one run, with perfdhcp from Kea's own package. A rate counts while fewer than 0.1 % of the
# exchanges are dropped. Both ends share this machine's cores, so each server's own CPU time stands
# beside its rate: where perfdhcp is the limit, that tells what the server could do.
#
#   BINARY   the daemon to measure (default: target/release/bootwright)
#   SECONDS_PER_RATE   how long each rate lasts (default: 5)
#
# Everything lives in network namespaces that are joined to nothing, and goes away at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly binary=$(readlink -m "${BINARY:-${CARGO_TARGET_DIR:-target}/release/bootwright}")
readonly period=${SECONDS_PER_RATE:-5}
readonly kea=/usr/sbin/kea-dhcp4 dnsmasq=/usr/sbin/dnsmasq
readonly net=bwbench-$$
readonly address=198.18.0.1 clients=198.18.200.1
readonly rates="100 200 500 1000 2000 3000 4000 6000 8000 10000 12500 16000 20000 25000 32000"
work=$(mktemp -d)
readonly work
server=''
declare -A best cpu

for program in "$binary" "$kea" "$dnsmasq" /usr/sbin/perfdhcp; do
    [ -x "$program" ] || { echo "dhcp bench: $program is not here: make bench installs and builds what it needs" >&2; exit 1; }
done

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    trap '' INT TERM
    [ -z "$server" ] || kill -9 "$server" 2> /dev/null || true
    ip netns del "$net-s" 2> /dev/null || true
    ip netns del "$net-c" 2> /dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

ip netns add "$net-s"
ip netns add "$net-c"
ip -n "$net-s" link add eno2 type veth peer name eth0 netns "$net-c"
ip -n "$net-s" addr add "$address/15" dev eno2
ip -n "$net-c" addr add "$clients/15" dev eth0
for end in "$net-s lo" "$net-s eno2" "$net-c lo" "$net-c eth0"; do
    # shellcheck disable=SC2086 # a namespace and a link
    set -- $end
    ip -n "$1" link set "$2" up
done

start_bootwright() {
    mkdir -p "$work/images"
    cat > "$work/bootwright.toml" << END
[network]
interfaces = ["eno2"]
[paths]
scripts = "$PWD/ipxe-scripts"
answers = "$PWD/config/answers"
images = "images"
[state]
path = "state"
[admin]
socket = "admin.sock"
END
    cat > "$work/inventory.toml" << END
[[subnet]]
cidr  = "198.18.0.0/15"
pool  = ["198.18.1.0-198.18.199.255", "198.19.0.0-198.19.255.250"]
lease = "1h"
END
    rm -rf "$work/state"
    # An hour's log of a room is what an operator keeps: the log goes to a file here too.
    ip netns exec "$net-s" "$binary" serve --config "$work/bootwright.toml" > "$work/bootwright.log" 2>&1 &
    server=$!
}

start_kea() {
    cat > "$work/kea.json" << END
{ "Dhcp4": {
  "interfaces-config": { "interfaces": [ "eno2" ], "dhcp-socket-type": "udp" },
  "lease-database": { "type": "memfile", "persist": true, "name": "$work/kea.csv", "lfc-interval": 0 },
  "multi-threading": { "enable-multi-threading": true, "thread-pool-size": 2 },
  "valid-lifetime": 3600,
  "subnet4": [ { "subnet": "198.18.0.0/15", "pools": [ { "pool": "198.18.1.0-198.18.199.255" }, { "pool": "198.19.0.0-198.19.255.250" } ] } ],
  "loggers": [ { "name": "kea-dhcp4", "severity": "ERROR", "output_options": [ { "output": "$work/kea.log" } ] } ]
} }
END
    KEA_LOCKFILE_DIR=$work KEA_PIDFILE_DIR=$work ip netns exec "$net-s" "$kea" -c "$work/kea.json" > "$work/kea.out" 2>&1 &
    server=$!
}

start_dnsmasq() {
    ip netns exec "$net-s" "$dnsmasq" --keep-in-foreground --conf-file=/dev/null --port=0 --user=root --pid-file \
        --interface=eno2 --dhcp-leasefile="$work/dnsmasq.leases" --dhcp-lease-max=150000 --quiet-dhcp --no-ping \
        --dhcp-range=198.18.1.0,198.18.199.255,255.254.0.0,1h > "$work/dnsmasq.out" 2>&1 &
    server=$!
}

stop_server() {
    kill "$server"
    wait "$server" 2> /dev/null || true
    server=''
}

# User and system time of the server so far, in milliseconds.
cpu_ms() { awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) * 1000 / hz) }' "/proc/$server/stat"; }

serial=0
# perfdhcp RATE CLIENTS ARGUMENTS…: prints "exchanges drop-percent" of a run with new clients.
load() {
    local rate=$1 range=$2
    shift 2
    serial=$((serial + 1))
    ip netns exec "$net-c" perfdhcp -4 -r "$rate" -R "$range" -W 1000000 -s 7 \
        -b "mac=02:$(printf %02x $serial):00:00:00:00" -l "$clients" "$@" "$address" > "$work/perfdhcp" 2>&1 || true
    awk '/^sent packets:/ { sent[++n] = $3 } /^received packets:/ { got[n] = $3 }
         END { lost = (sent[1] - got[1]) + (sent[2] - got[2])
               printf "%d %.3f\n", got[2], (sent[1] ? 100 * lost / sent[1] : 100) }' "$work/perfdhcp"
}

wait_for_service() {
    for _ in $(seq 50); do
        sleep 0.2
        kill -0 "$server" 2> /dev/null || { echo "dhcp bench: $1 ended: $(tail -n 3 "$work"/"$1".*)" >&2; exit 1; }
        [ "$(load 20 10 -p 1 | cut -d" " -f1)" -gt 0 ] && return
    done
    echo "dhcp bench: $1 does not answer: $(tail -n 3 "$work"/"$1".*)" >&2
    exit 1
}

# NAME COUNT RATE: gives so many leases before anything is measured.
preload() {
    load "$3" "$2" -n "$2" > /dev/null
    echo "$1: about $2 leases in the table"
}

# NAME: rising rates until exchanges are dropped.
climb() {
    local name=$1 exchanges drops before used
    best[$name]=0 cpu[$name]=0
    for rate in $rates; do
        before=$(cpu_ms)
        read -r exchanges drops < <(load "$rate" 1000000 -p "$period")
        used=$(($(cpu_ms) - before))
        printf '  %-11s asked %6d/s  did %8.0f/s  dropped %7.3f %%  CPU %6.1f us an exchange\n' "$name" "$rate" \
            "$(awk -v n="$exchanges" -v s="$period" 'BEGIN { print n / s }')" "$drops" \
            "$(awk -v ms="$used" -v n="$exchanges" 'BEGIN { print n ? ms * 1000 / n : 0 }')"
        if awk -v d="$drops" 'BEGIN { exit !(d < 0.1) }'; then
            best[$name]=$((exchanges / period))
            cpu[$name]=$(awk -v ms="$used" -v n="$exchanges" 'BEGIN { printf "%.1f", ms * 100 / n }')
        elif awk -v d="$drops" 'BEGIN { exit !(d > 5) }'; then
            break
        fi
    done
}

echo "== full exchanges with perfdhcp, $period s a rate, $(nproc) cores shared by both ends"
start_kea && wait_for_service kea && preload kea 30000 1500 && climb kea && stop_server
start_dnsmasq && wait_for_service dnsmasq && preload dnsmasq 2000 100 && climb dnsmasq && stop_server
start_bootwright && wait_for_service bootwright && preload bootwright 30000 3000 && climb bootwright && stop_server

echo "== ours as the table grows, at 2,000 exchanges a second"
start_bootwright && wait_for_service bootwright
held=0
for leases in 1000 30000 60000; do
    load 3000 $((leases - held)) -n $((leases - held)) > /dev/null
    before=$(cpu_ms)
    read -r exchanges drops < <(load 2000 1000000 -p "$period")
    used=$(($(cpu_ms) - before))
    held=$((leases + exchanges))
    awk -v l="$leases" -v ms="$used" -v n="$exchanges" -v d="$drops" \
        'BEGIN { printf "  %6d leases  CPU %6.1f us an exchange  dropped %.3f %%\n", l, ms * 1000 / n, d }'
done
stop_server

echo "== best rate under 0.1 % drops, and the server's CPU for 100,000 exchanges"
for name in bootwright kea dnsmasq; do
    printf '  %-11s %6d/s  %6.1f s\n' "$name" "${best[$name]}" "${cpu[$name]}"
done
awk -v o="${best[bootwright]}" -v k="${best[kea]}" -v d="${best[dnsmasq]}" -v co="${cpu[bootwright]}" -v ck="${cpu[kea]}" \
    'BEGIN { printf "  ours : kea %.1f in rate, %.2f in CPU; ours : dnsmasq %.1f in rate\n",
             k ? o / k : 0, ck ? co / ck : 0, d ? o / d : 0 }'
