#!/bin/bash
# Full DHCP exchanges a second: ours (every lease on disk before its ACK) beside Kea and dnsmasq, in
# one run. A rate counts while fewer than 0.1 % of the exchanges are dropped. The load comes from
# perfdhcp, of Kea's own package, and from a far lighter one of ours (tests/bench/dhcp_load.rs), with
# the cores shared and ("pinned") with one for each end; the rows "packets" are the light load reading
# packets, as relays and nearly all clients do, and not its socket's datagrams. Every row has the server's CPU time for an
# exchange and the load's beside it, which tells who of the two is the limit.
#
# 30,000 machines with a lease come back again and again (2,000 for dnsmasq, whose cost grows with
# every lease): each gets its address anew and its lease is written anew.
#
#   BINARY, LOAD       the daemon to measure, and the light load (default: those in target/release)
#   SECONDS_PER_RATE   how long each rate lasts (default: 5)
#   PERFDHCP_RATES, LOAD_RATES   the rates
#
# Everything lives in network namespaces that are joined to nothing, and goes away at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/common.sh

readonly binary=$(readlink -m "${BINARY:-${CARGO_TARGET_DIR:-target}/release/bootwright}")
readonly light=$(readlink -m "${LOAD:-${CARGO_TARGET_DIR:-target}/release/examples/dhcp-load}")
readonly period=${SECONDS_PER_RATE:-5}
readonly kea=/usr/sbin/kea-dhcp4
readonly net=bwbench-$$
readonly address=198.18.0.1 clients=198.18.200.1
readonly perfdhcp_rates=${PERFDHCP_RATES:-500 1000 2000 4000 6000 8000 10000 12500 16000 20000}
readonly light_rates=${LOAD_RATES:-1000 2000 4000 8000 12000 16000 20000 25000 32000 40000 50000 64000 80000 100000}
work=$(mktemp -d)
readonly work
mkdir "$work/logs"
server=''
declare -A best cpu most

need "$binary" "$light" "$kea" "${dnsmasq[0]}" /usr/sbin/perfdhcp

# shellcheck disable=SC2317 # called at the end
end_server() { [ -z "$server" ] || kill -9 "$server" 2> /dev/null || true; }
clean_up_with end_server

lay_network "$address/15" "$clients/15"

start_bootwright() {
    configure "$work" /usr/lib/ipxe << END
[[subnet]]
cidr  = "198.18.0.0/15"
pool  = ["198.18.1.0-198.18.199.255", "198.19.0.0-198.19.255.250"]
lease = "1h"
END
    rm -rf "$work/state"
    # An hour's log of a room is what an operator keeps: the log goes to a file here too.
    launch bootwright.log "$binary" serve --config "$work/bootwright.toml"
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
  "loggers": [ { "name": "kea-dhcp4", "severity": "ERROR", "output_options": [ { "output": "$work/logs/kea.log" } ] } ]
} }
END
    KEA_LOCKFILE_DIR=$work KEA_PIDFILE_DIR=$work launch kea.out "$kea" -c "$work/kea.json"
    server=$!
}

start_dnsmasq() {
    launch dnsmasq.out "${dnsmasq[@]}" --interface=eno2 \
        --dhcp-leasefile="$work/dnsmasq.leases" --dhcp-lease-max=150000 --quiet-dhcp --no-ping \
        --dhcp-range=198.18.1.0,198.18.199.255,255.254.0.0,1h
    server=$!
}

stop_server() {
    kill "$server"
    wait "$server" 2> /dev/null || true
    server=''
}

# perfdhcp MACHINES RATE: prints "exchanges drop-percent its-CPU-ms".
perfdhcp_load() {
    TIMEFORMAT='%U %S'
    # shellcheck disable=SC2086 # a command or none
    { time ip netns exec "$net-c" $on_other_core perfdhcp -4 -r "$2" -R "$1" -p "$period" -W 1000000 -s 7 \
        -b mac=02:00:00:00:00:00 -l "$clients" "$address" > "$work/perfdhcp" 2>&1 || true; } 2> "$work/time"
    awk '/^sent packets:/ { sent[++n] = $3 } /^received packets:/ { got[n] = $3 }
         FILENAME ~ /time$/ { cpu = ($1 + $2) * 1000 }
         END { lost = (sent[1] - got[1]) + (sent[2] - got[2])
               printf "%d %.3f %d\n", got[2], (sent[1] ? 100 * lost / sent[1] : 100), cpu }' "$work/perfdhcp" "$work/time"
}

# The same with the light load. Without a period of its own it lasts as long as any rate; what it reads may
# follow.
light_load() {
    # shellcheck disable=SC2086 # a command or none
    ip netns exec "$net-c" $on_other_core "$light" "$address" eth0 "$clients" "$1" "$2" "${3:-$period}" ${4:-} 2> "$work/light" \
        | awk '{ printf "%d %.3f %d %s\n", $2, ($1 ? 100 * ($1 - $2) / $1 : 100), $4, $3 }'
}

# The same, reading packets.
packets_load() { light_load "$1" "$2" "$period" packets; }

wait_for_service() {
    on_other_core=''
    for _ in $(seq 50); do
        sleep 0.2
        kill -0 "$server" 2> /dev/null || { echo "dhcp bench: $1 ended: $(tail -n 3 "$work"/logs/"$1".*)" >&2; exit 1; }
        [ "$(light_load 10 20 1 | cut -d" " -f1)" -gt 0 ] && return
    done
    echo "dhcp bench: $1 does not answer: $(tail -n 3 "$work"/logs/"$1".* "$work/light")" >&2
    exit 1
}

# NAME MACHINES RATE: so many machines get their first lease.
preload() {
    light_load "$2" "$3" $(($2 / $3)) > /dev/null
    echo "$1: $2 leases in the table"
}

# NAME LOAD MACHINES RATES…: rising rates until exchanges are dropped. The best one is kept in the table,
# with both ends' CPU.
climb() {
    local name=$1 load=$2 machines=$3 exchanges drops load_ms before used late row="$1 $2${on_other_core:+ pinned}"
    shift 3
    best[$row]=0 cpu[$row]=0 most[$row]=0
    for rate in "$@"; do
        before=$(cpu_ms "$server")
        read -r exchanges drops load_ms late < <("${load}_load" "$machines" "$rate")
        used=$(($(cpu_ms "$server") - before))
        awk -v r="$row" -v a="$rate" -v n="$exchanges" -v s="$period" -v d="$drops" -v ms="$used" -v l="$load_ms" -v t="${late:+  99 % within $late ms}" \
            'BEGIN { printf "  %-26s asked %6d/s  did %8.0f/s  dropped %7.3f %%  CPU %5.1f us an exchange, the load %5.1f%s\n",
                     r, a, n / s, d, n ? ms * 1000 / n : 0, n ? l * 1000 / n : 0, t }'
        [ $((exchanges / period)) -le "${most[$row]}" ] || most[$row]=$((exchanges / period))
        if awk -v d="$drops" 'BEGIN { exit !(d < 0.1) }'; then
            best[$row]=$((exchanges / period))
            cpu[$row]=$(awk -v ms="$used" -v n="$exchanges" 'BEGIN { printf "%.2f", ms * 100 / n }')
        elif awk -v d="$drops" 'BEGIN { exit !(d > 5) }'; then
            break
        fi
    done
}

# NAME MACHINES RATE-TO-LOAD: one server under each load.
measure() {
    "start_$1" && wait_for_service "$1" && preload "$@"
    # shellcheck disable=SC2086 # lists of rates
    for on_other_core in '' 'taskset -c 1'; do
        if [ -n "$on_other_core" ]; then
            [ "$(nproc)" -gt 1 ] || break
            taskset -acp 0 "$server" > /dev/null
        fi
        climb "$1" perfdhcp "$2" $perfdhcp_rates
        climb "$1" light "$2" $light_rates
        climb "$1" packets "$2" $light_rates
    done
    on_other_core=''
    stop_server
}

echo "== full exchanges, $period s a rate, $(nproc) cores"
measure kea 30000 3000
measure dnsmasq 2000 200
measure bootwright 30000 6000

echo "== ours as the table grows, 100,000 exchanges at 20,000 a second"
start_bootwright && wait_for_service bootwright
for leases in 1000 30000 60000; do
    preload bootwright "$leases" $((leases < 10000 ? leases : 10000))
    before=$(cpu_ms "$server")
    read -r exchanges drops load_ms late < <(light_load "$leases" 20000 5)
    used=$(($(cpu_ms "$server") - before))
    awk -v l="$leases" -v ms="$used" -v n="$exchanges" -v d="$drops" -v t="$late" \
        'BEGIN { printf "  %6d leases  CPU %6.1f us an exchange  dropped %.3f %%  99 %% within %s ms\n", l, ms * 1000 / n, d, t }'
done
stop_server

echo "== best rate under 0.1 % drops, the server's CPU for 100,000 exchanges at that rate, and the most it did whatever it dropped"
for load in perfdhcp "perfdhcp pinned" light "light pinned" packets "packets pinned"; do
    for name in bootwright kea dnsmasq; do
        [ -z "${best["$name $load"]:-}" ] ||
            printf '  %-26s %6d/s  %6.2f s  %6d/s\n' "$name $load" "${best["$name $load"]}" "${cpu["$name $load"]}" "${most["$name $load"]}"
    done
    [ -z "${best["kea $load"]:-}" ] || awk -v load="$load" -v o="${best["bootwright $load"]}" -v k="${best["kea $load"]}" \
        -v d="${best["dnsmasq $load"]}" -v co="${cpu["bootwright $load"]}" -v ck="${cpu["kea $load"]}" \
        -v mo="${most["bootwright $load"]}" -v mk="${most["kea $load"]}" \
        'BEGIN { printf "  %s: ours : kea %s in rate (%.1f in the most done), %s in CPU; ours : dnsmasq %s in rate\n",
                 load, ratio(o, k), mo / mk, ratio(co, ck), ratio(o, d) }
         function ratio(a, b) { return b ? sprintf("%.2f", a / b) : "-" }'
done
