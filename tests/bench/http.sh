#!/bin/bash
# HTTP beside nginx, in one run: a 40 MB initrd over few and many connections, a small rendered script
# (nginx: a static file of 400 bytes), how long a script and a loader take beside 64 streams of bulk
# (TFTP beside nginx is dnsmasq), and the memory of 1,000 streams. Rates and the server's own CPU
# time are medians of ROUNDS rounds; both ends share this machine's cores, so trust the CPU time.
#
#   BINARY   the daemon to measure (default: target/release/bootwright); LOAD and TFTP_LOAD beside it
#   ROUNDS   how often each is measured (default: 5)
#   PARTS    which parts run (default: "rates beside memory")
#   SERVERS  which (default: "nginx bootwright")
#
# Everything lives in network namespaces that are joined to nothing, and goes away at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/common.sh

readonly target=${CARGO_TARGET_DIR:-target}/release
readonly binary=$(readlink -m "${BINARY:-$target/bootwright}")
readonly load=$(readlink -m "${LOAD:-$target/examples/http-load}") tftp_load=$(readlink -m "${TFTP_LOAD:-$target/examples/tftp-load}")
readonly rounds=${ROUNDS:-5} parts=${PARTS:-rates beside memory} servers=${SERVERS:-nginx bootwright}
readonly wrk=/usr/bin/wrk
readonly net=bwhttp-$$
readonly address=192.0.2.1 host=192.0.2.254 clients=198.18.0.1 probing=198.18.200.1
readonly mac=52-54-00-00-00-07
work=$(mktemp -d)
readonly work
mkdir "$work/logs"
pids=()
declare -A path rates costs

need "$binary" "$load" "$tftp_load" "${dnsmasq[0]}" "$nginx" "$wrk" /usr/bin/curl

clean_up_with stop_servers

stop_servers() {
    stop "${pids[@]}"
    pids=()
}

lay_network "$address/24" "$host/24"
route_clients 198.18.0.0/16 "$host"
ulimit -n "$(ulimit -Hn)"

make_files 8000000 40000000
head -c 300 /dev/urandom | base64 -w 79 | head -c 400 > "$work/files/boot.ipxe"
path=(
    [nginx.initrd]=/initrd [nginx.linux]=/linux [nginx.script]=/boot.ipxe
    [bootwright.initrd]=/image/bench/initrd [bootwright.linux]=/image/bench/linux
    [bootwright.script]="/boot.ipxe?mac=$mac&uuid=00000000-0000-0000-0000-525400000007&serial=A7&arch=x86_64&platform=efi&manufacturer=ACME"
)

start_bootwright() {
    configure "$work" files << INVENTORY
[[subnet]]
cidr = "192.0.2.0/24"
[[host]]
name    = "r1u07"
mac     = "$mac"
address = "$host"
image   = "bench"
boot    = "live"
script  = "live"
INVENTORY
    launch bootwright.log "$binary" serve --config "$work/bootwright.toml"
    pids=($!)
}

start_nginx() {
    launch_nginx "$address" 8192
    pids=($!)
}

# The peer of our TFTP beside nginx's HTTP; its time counts nowhere.
start_dnsmasq() {
    launch dnsmasq.log "${dnsmasq[@]}" --enable-tftp --tftp-root="$work/files" --quiet-tftp
    pids+=($!)
}

# NAME: starts it, and compares every byte of its initrd once.
start() {
    rm -f "$work/got"
    "start_$1"
    for _ in $(seq 100); do
        sleep 0.1
        ip netns exec "$net-c" curl -sf --interface "$probing" -o "$work/got" "http://$address${path[$1.initrd]}" && break
    done
    cmp -s "$work/got" "$work/files/initrd" || {
        echo "http bench: $1 does not serve its initrd: $(tail -n 3 "$work"/logs/*)" >&2
        exit 1
    }
}

client() { ip netns exec "$net-c" "$@"; }

# NAME FILE CONNECTIONS TIMES
fetch() {
    local before failed bytes seconds
    before=$(cpu_ms "${pids[0]}")
    read -r failed bytes seconds < <(client "$load" fetch "$address:80" "${path[$1.$2]}" "$clients" "$3" "$4")
    keep "$1" "$2-$3" "$before" "$bytes" "$seconds" 1e9
    [ "$failed" = 0 ] || echo "    $1: of $3 connections $failed failed"
}

# NAME: scripts for a few seconds, over 64 connections that are kept.
scripts() {
    local before asked seconds
    before=$(cpu_ms "${pids[0]}")
    client "$wrk" -t 2 -c 64 -d 4 "http://$address${path[$1.script]}" > "$work/wrk"
    asked=$(awk '/requests in/ { print $1 }' "$work/wrk")
    seconds=$(awk '/requests in/ { sub("s,", "", $4); print $4 }' "$work/wrk")
    keep "$1" script "$before" "$asked" "$seconds" 1e5
    ! grep -E 'Socket errors|Non-2xx' "$work/wrk" >&2
}

# NAME CASE CPU-BEFORE AMOUNT SECONDS UNIT: keeps a rate, and CPU seconds a unit.
keep() {
    sleep 0.1
    rates[$1.$2]+="$(awk -v a="$4" -v s="$5" 'BEGIN { print a / s }') "
    costs[$1.$2]+="$(awk -v a="$4" -v ms=$(($(cpu_ms "${pids[0]}") - $3)) -v unit="$6" 'BEGIN { print a ? ms / 1000 / (a / unit) : 0 }') "
}

# CASE WHAT RATE-UNIT DIVISOR COST-UNIT
row() {
    local name rate cost
    echo "$2"
    for name in $servers; do
        [ -n "${rates[$name.$1]:-}" ] || continue
        rate=$(median <<< "${rates[$name.$1]}")
        cost=$(median <<< "${costs[$name.$1]}")
        awk -v name="$name" -v r="$rate" -v d="$4" -v u="$3" -v c="$cost" -v per="$5" \
            'BEGIN { printf "  %-11s %8.1f %s  %6.3f s of CPU for %s\n", name, r / d, u, c, per }'
        rates[$name.$1.median]=$rate costs[$name.$1.median]=$cost
    done
    [ -n "${rates[nginx.$1]:-}" ] && [ -n "${rates[bootwright.$1]:-}" ] || return 0
    awk -v a="${rates[bootwright.$1.median]}" -v b="${rates[nginx.$1.median]}" \
        -v c="${costs[bootwright.$1.median]}" -v d="${costs[nginx.$1.median]}" \
        'BEGIN { printf "  ours : nginx   %.2f in rate, %.2f in CPU\n", a / b, c / d }'
}

measure_rates() {
    local name
    for _ in $(seq "$rounds"); do
        for name in $servers; do
            start "$name"
            fetch "$name" initrd 4 25
            fetch "$name" initrd 64 2
            scripts "$name"
            stop_servers
        done
    done
    echo "== HTTP, medians of $rounds rounds, $(nproc) cores shared by both ends"
    row initrd-4 "a 40 MB initrd over 4 connections" MB/s 1e6 "a GB"
    row initrd-64 "a 40 MB initrd over 64 connections" MB/s 1e6 "a GB"
    row script "a script over 64 connections (nginx: a static file of 400 bytes)" requests/s 1 "100,000"
}

# NAME: a script's and a loader's times, and how many bytes of bulk go out meanwhile.
probe() {
    local loader='' script
    script=$(client "$load" probe "$address:80" "${path[$1.script]}" "$probing" 300)
    for _ in $(seq 40); do
        loader+="$(client "$tftp_load" "$address:69" snponly.efi "$work/files/snponly.efi" "$probing" 1 1468 0 |
            awk '{ print $2 ? 99999 : $4 * 1000 }') "
    done
    loader=$(tr ' ' '\n' <<< "$loader" | grep . | sort -g | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)], all[int(NR * 0.99)] }')
    # shellcheck disable=SC2086 # two words each
    printf '  %-11s %-17s script %8.2f ms, p99 %8.2f ms   loader %8.1f ms, p99 %8.1f ms\n' "$1" "$2" $script $loader
}

measure_beside() {
    local name bulk
    echo "== a script and a 1 MB loader (TFTP in lock-step; nginx: dnsmasq's) beside bulk, p50 and p99"
    for name in $servers; do
        start "$name"
        [ "$name" = bootwright ] || start_dnsmasq
        probe "$name" "alone"
        client "$load" fetch "$address:80" "${path[$name.initrd]}" "$clients" 64 1000 > /dev/null 2>&1 &
        bulk=$!
        sleep 0.5
        probe "$name" "beside 64 streams"
        kill "$bulk" 2> /dev/null || true
        wait "$bulk" 2> /dev/null || true
        stop_servers
    done
}

measure_memory() {
    local name failed bytes seconds kb
    echo "== memory of 1,000 streams of an 8 MB kernel"
    for name in $servers; do
        start "$name"
        read -r failed bytes seconds < <(client "$load" fetch "$address:80" "${path[$name.linux]}" "$clients" 1000 2)
        kb=$(peak_kb "${pids[0]}")
        awk -v n="$name" -v f="$failed" -v b="$bytes" -v s="$seconds" -v kb="$kb" \
            'BEGIN { printf "  %-11s %d failed, %.0f MB/s, peak %.1f MB\n", n, f, b / s / 1e6, kb / 1024 }'
        stop_servers
    done
}

for part in $parts; do "measure_$part"; done
