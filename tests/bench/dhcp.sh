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
# Before that come the rates of an ordinary day ("ordinary"): every machine of perfdhcp's is a new one behind its relay
# address, ours and Kea take turns, and of each the median of all rounds is told. Then what wakes up where nobody asks
# ("idle"), and how long a changed link or address takes to be acted on ("changes").
#
# Kea is that of Debian's unstable suite in a root of its own, where tests/newer-root.sh made one, otherwise this
# machine's. It writes its leases to a file and never waits for the disk.
#
#   BINARY, LOAD       the daemon to measure, and the light load (default: those in target/release)
#   PARTS              which parts (default: ordinary idle changes most)
#   ROUNDS             rounds of the ordinary rates (default: 5)
#   ORDINARY_RATES     the rates
#   SECONDS_PER_RATE   how long each rate lasts (default: 5)
#   PERFDHCP_RATES, LOAD_RATES   the rates of part "most"
#   KEA_ROOT           the root that Kea runs in
#   RESULTS            where the figures and their plot go
#
# Everything lives in network namespaces that are joined to nothing, and goes away at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/common.sh

readonly binary=$(readlink -m "${BINARY:-${CARGO_TARGET_DIR:-target}/release/bootwright}")
readonly light=$(readlink -m "${LOAD:-${CARGO_TARGET_DIR:-target}/release/examples/dhcp-load}")
readonly period=${SECONDS_PER_RATE:-5}
readonly parts=${PARTS:-ordinary idle changes most} rounds=${ROUNDS:-5}
readonly ordinary_rates=${ORDINARY_RATES:-1500 3000 8000}
readonly kea=/usr/sbin/kea-dhcp4
kea_root=${KEA_ROOT:-${BOOTWRIGHT_TEST_ROOTS:-/usr/local/lib/bootwright-tests/roots}/sid}
[ -x "$kea_root$kea" ] || kea_root=''
readonly kea_root
readonly net=bwbench-$$
readonly address=198.18.0.1 clients=198.18.200.1
readonly perfdhcp_rates=${PERFDHCP_RATES:-500 1000 2000 4000 6000 8000 10000 12500 16000 20000}
readonly light_rates=${LOAD_RATES:-1000 2000 4000 8000 12000 16000 20000 25000 32000 40000 50000 64000 80000 100000}
work=$(mktemp -d)
readonly work
mkdir "$work/logs"
server=''
declare -A best cpu most

need "$binary" "$light" "$kea_root$kea" "${dnsmasq[0]}" /usr/sbin/perfdhcp
kea_version=$(chroot "${kea_root:-/}" "$kea" -v)
# Kea's own files, as it sees them in its root.
readonly kea_version kea_files=/tmp/$net

# shellcheck disable=SC2317 # called at the end
end_server() {
    [ -z "$server" ] || kill -9 "$server" 2> /dev/null || true
    rm -rf "$kea_root$kea_files"
}
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
    rm -rf "$kea_root$kea_files"
    mkdir -p "$kea_root$kea_files"
    cat > "$kea_root$kea_files/kea.json" << END
{ "Dhcp4": {
  "interfaces-config": { "interfaces": [ "eno2" ], "dhcp-socket-type": "udp" },
  "lease-database": { "type": "memfile", "persist": true, "name": "$kea_files/leases.csv", "lfc-interval": 0 },
  "multi-threading": { "enable-multi-threading": true, "thread-pool-size": 2 },
  "valid-lifetime": 3600,
  "subnet4": [ { "id": 1, "subnet": "198.18.0.0/15", "pools": [ { "pool": "198.18.1.0-198.18.199.255" }, { "pool": "198.19.0.0-198.19.255.250" } ] } ],
  "loggers": [ { "name": "kea-dhcp4", "severity": "ERROR", "output_options": [ { "output": "stdout" } ] } ]
} }
END
    launch kea.out env KEA_LOCKFILE_DIR=none KEA_PIDFILE_DIR="$kea_files" KEA_DHCP_DATA_DIR="$kea_files" \
        chroot "${kea_root:-/}" "$kea" -c "$kea_files/kea.json"
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

part() { case " $parts " in *" $1 "*) return 0 ;; *) return 1 ;; esac }

# Microseconds of CPU so far, of the threads that are there: ticks of 10 ms would be too coarse.
cpu_us() { cat /proc/"$server"/task/*/schedstat | awk '{ ns += $1 } END { printf "%.0f\n", ns / 1000 }'; }

# NAME ROUND: one server under the ordinary rates, each machine a new one. Keeps "CPU us an exchange" and perfdhcp's
# mean time for an answer to DISCOVER and to REQUEST.
ordinary() {
    local rate used first=0 row
    "start_$1" && wait_for_service "$1"
    for rate in $ordinary_rates; do
        first=$((first + 1)) row="$1 $rate"
        used=$(cpu_us)
        ip netns exec "$net-c" perfdhcp -4 -r "$rate" -R 1000000 -p "$period" -W 1000000 -s 7 \
            -b "mac=$(printf '02:%02x:00:00:00:00' "$first")" -l "$clients" "$address" > "$work/perfdhcp" 2>&1 || true
        used=$(($(cpu_us) - used))
        awk -v us="$used" -v row="$row" '/^sent packets:/ { sent[++n] = $3 } /^received packets:/ { got[n] = $3 }
            /^avg delay:/ { delay[n] = $3 }
            END { print row, got[2] ? us / got[2] : 0, delay[1], delay[2], 100 * (sent[1] - got[2]) / sent[1] }' \
            "$work/perfdhcp" >> "$work/ordinary"
    done
    stop_server
}

# NAME RATE COLUMN: the median of all rounds.
ordinary_median() { awk -v n="$1" -v r="$2" -v c="$3" '$1 == n && $2 == r { print $c }' "$work/ordinary" | median; }

ordinary_table() {
    local rate name row us
    for rate in $ordinary_rates; do
        for name in bootwright kea; do
            us=$(ordinary_median "$name" "$rate" 3)
            printf '  %5d/s  %-10s CPU %6.1f us an exchange, an offer within %5.2f ms, an ACK within %5.2f ms (means), dropped %5.2f %%\n' \
                "$rate" "$name" "$us" "$(ordinary_median "$name" "$rate" 4)" "$(ordinary_median "$name" "$rate" 5)" \
                "$(ordinary_median "$name" "$rate" 6)"
            keep_figure "$rate/s, new machines, relayed: CPU us an exchange" "$name" "$us"
        done
        awk -v o="$(ordinary_median bootwright "$rate" 3)" -v k="$(ordinary_median kea "$rate" 3)" \
            'BEGIN { printf "  %5s    ours : kea %.2f in CPU\n", "", (k ? o / k : 0) }'
    done
}

# Times that any thread of the server went to sleep of itself: it woke up as often.
sleeps() { cat /proc/"$server"/task/*/status | awk '/^voluntary/ { n += $2 } END { print n }'; }

# NAME: what wakes up while nobody asks.
idle() {
    local before per_second
    "start_$1" && wait_for_service "$1"
    sleep 15
    before=$(sleeps)
    sleep 30
    per_second=$(awk -v n=$(($(sleeps) - before)) 'BEGIN { printf "%.2f", n / 30 }')
    echo "  $1: $per_second wake-ups a second"
    keep_figure "idle: wake-ups a second" "$1" "$per_second"
    stop_server
}

# COMMAND PATTERN: how long it takes from before a change to the line of ours that it is acted on, in milliseconds.
change_ms() {
    local before seen line
    seen=$(wc -l < "$work/logs/bootwright.log")
    before=$(date +%s.%N)
    # shellcheck disable=SC2086 # words
    ip -n "$net-s" $1
    for _ in $(seq 200); do
        line=$(tail -n +$((seen + 1)) "$work/logs/bootwright.log" | grep -m 1 "$2") && break
        sleep 0.01
    done
    [ -n "$line" ] || { echo "dhcp bench: ip $1 was not acted on" >&2; exit 1; }
    date -d "${line%% *}" +%s.%N | awk -v before="$before" '{ printf "%.1f\n", ($1 - before) * 1000 }'
}

changes() {
    local round
    start_bootwright && wait_for_service bootwright
    : > "$work/changes"
    for round in $(seq 10); do
        {
            change_ms "addr add 198.51.100.$round/24 dev eno2" "198.51.100.$round"
            change_ms "link set eno2 down" "link_down"
        } >> "$work/changes"
        # Not counted: the kernel itself tells of a carrier up to a second late, where links change often.
        change_ms "link set eno2 up" "link_up" > /dev/null
    done
    echo "  from before ip(8) is run to the line in the log: median $(median < "$work/changes") ms, longest $(sort -g "$work/changes" | tail -n 1) ms of $(wc -l < "$work/changes")"
    keep_figure "a changed link or address is acted on: ms" bootwright "$(median < "$work/changes")"
    stop_server
}

begin_figures
if part ordinary; then
    echo "== ordinary rates: $rounds rounds, $period s each, every machine a new one behind a relay; kea is $kea_version"
    : > "$work/ordinary"
    for round in $(seq "$rounds"); do
        if [ $((round % 2)) = 1 ]; then
            ordinary bootwright; ordinary kea
        else
            ordinary kea; ordinary bootwright
        fi
    done
    ordinary_table
fi
if part idle; then
    echo "== nobody asks, for 30 s"
    idle bootwright
    idle kea
    idle dnsmasq
fi
if part changes; then
    echo "== links and addresses change"
    changes
fi
if ! part most; then
    plot_figures "DHCP"
    exit 0
fi

echo "== full exchanges, $period s a rate, $(nproc) cores; kea is $kea_version"
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
        [ -z "${best["$name $load"]:-}" ] || keep_figure "$load: exchanges a second" "$name" "${best["$name $load"]}"
    done
    [ -z "${best["kea $load"]:-}" ] || awk -v load="$load" -v o="${best["bootwright $load"]}" -v k="${best["kea $load"]}" \
        -v d="${best["dnsmasq $load"]}" -v co="${cpu["bootwright $load"]}" -v ck="${cpu["kea $load"]}" \
        -v mo="${most["bootwright $load"]}" -v mk="${most["kea $load"]}" \
        'BEGIN { printf "  %s: ours : kea %s in rate (%.1f in the most done), %s in CPU; ours : dnsmasq %s in rate\n",
                 load, ratio(o, k), mo / mk, ratio(co, ck), ratio(o, d) }
         function ratio(a, b) { return b ? sprintf("%.2f", a / b) : "-" }'
done
plot_figures "DHCP"
