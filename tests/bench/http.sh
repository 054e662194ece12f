#!/bin/bash
# HTTP beside nginx, in one run: a 40 MB initrd over 4, 64 and 1,000 connections, by our own load and by wrk, a small
# rendered script (nginx: a static file of 400 bytes), how long a script and a loader take beside 64 and 1,000 streams
# of bulk (TFTP beside nginx is dnsmasq), and the memory of 1,000 streams. Rates and the server's own CPU
# time are medians of ROUNDS rounds; both ends share this machine's cores, so trust the CPU time.
#
# Our own load drops what it is sent in the kernel, and has an address for every eight connections. wrk reads all of it,
# and each of its connections has an address of its own, as machines have: the kernel gives it one (nftables).
#
#   BINARY   the daemon to measure (default: target/release/bootwright); LOAD and TFTP_LOAD beside it
#   ROUNDS   how often each is measured (default: 5)
#   PARTS    which parts run (default: "rates scripts beside memory")
#   LOADS    which loads fetch the initrd (default: "wrk own"), and AT over how many connections ("4 64 1000")
#   SERVERS  which (default: "nginx bootwright")
#
# Everything lives in network namespaces that are joined to nothing, and goes away at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/common.sh

readonly target=${CARGO_TARGET_DIR:-target}/release
readonly binary=$(readlink -m "${BINARY:-$target/bootwright}")
readonly load=$(readlink -m "${LOAD:-$target/examples/http-load}") tftp_load=$(readlink -m "${TFTP_LOAD:-$target/examples/tftp-load}")
readonly rounds=${ROUNDS:-5} parts=${PARTS:-rates scripts beside memory} servers=${SERVERS:-nginx bootwright}
readonly loads=${LOADS:-wrk own} counts=${AT:-4 64 1000}
readonly wrk=/usr/bin/wrk nft=/usr/sbin/nft
readonly net=bwhttp-$$
readonly address=192.0.2.1 host=192.0.2.254 clients=198.18.0.1 probing=198.18.200.1
readonly mac=52-54-00-00-00-07
work=$(mktemp -d)
readonly work
mkdir "$work/logs"
pids=()
declare -A path rates costs

need "$binary" "$load" "$tftp_load" "${dnsmasq[0]}" "$nginx" "$wrk" "$nft" /usr/bin/curl

clean_up_with stop_servers

stop_servers() {
    stop "${pids[@]}"
    pids=()
}

lay_network "$address/24" "$host/24"
route_clients 198.18.0.0/16 "$host"
ulimit -n "$(ulimit -Hn)"

# What wrk read, and the microseconds that it took.
echo 'done = function(summary) io.write(string.format("bench %d %d\\n", summary.bytes, summary.duration)) end' > "$work/wrk.lua"

# An address of its own for each connection of a client that says none.
own_addresses() {
    printf 'table ip bench {\nchain leaving {\ntype nat hook postrouting priority srcnat;\n'
    printf 'ip saddr %s tcp dport 80 snat to numgen inc mod 4096 map {\n' "$host"
    seq 0 4095 | awk '{ printf "%d : 198.18.%d.%d,\n", $1, 64 + int($1 / 250), 1 + $1 % 250 }'
    printf '}\n}\n}\n'
}

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

# NAME CONNECTIONS TIMES: the initrd, by our own load.
fetch_own() {
    local before failed bytes seconds
    before=$(cpu_ms "${pids[0]}")
    read -r failed bytes seconds < <(client "$load" fetch "$address:80" "${path[$1.initrd]}" "$clients" "$2" "$3")
    keep "$1" "own-$2" "$before" "$bytes" "$seconds" 1e9
    [ "$failed" = 0 ] || echo "    $1: of $2 connections $failed failed"
}

# NAME CONNECTIONS: the initrd for a few seconds, by wrk, each connection from an address of its own.
fetch_wrk() {
    local before bytes us
    own_addresses | client "$nft" -f -
    before=$(cpu_ms "${pids[0]}")
    client "$wrk" -t 2 -c "$2" -d 4 --timeout 30 -s "$work/wrk.lua" "http://$address${path[$1.initrd]}" > "$work/wrk"
    read -r bytes us < <(awk '$1 == "bench" { print $2, $3 }' "$work/wrk")
    keep "$1" "wrk-$2" "$before" "$bytes" "$(awk -v us="$us" 'BEGIN { print us / 1e6 }')" 1e9
    client "$nft" delete table ip bench
    ! grep -E 'Socket errors|Non-2xx' "$work/wrk" >&2
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
    case " ${!rates[*]} " in *".$1 "*) echo "$2" ;; *) return 0 ;; esac
    for name in $servers; do
        [ -n "${rates[$name.$1]:-}" ] || continue
        rate=$(median <<< "${rates[$name.$1]}")
        cost=$(median <<< "${costs[$name.$1]}")
        awk -v name="$name" -v r="$rate" -v d="$4" -v u="$3" -v c="$cost" -v per="$5" \
            'BEGIN { printf "  %-11s %8.1f %s  %6.3f s of CPU for %s\n", name, r / d, u, c, per }'
        rates[$name.$1.median]=$rate costs[$name.$1.median]=$cost
        keep_figure "$2, $3" "$name" "$(awk -v r="$rate" -v d="$4" 'BEGIN { print r / d }')"
        keep_figure "$2, s of CPU for $5" "$name" "$cost"
    done
    [ -n "${rates[nginx.$1]:-}" ] && [ -n "${rates[bootwright.$1]:-}" ] || return 0
    awk -v a="${rates[bootwright.$1.median]}" -v b="${rates[nginx.$1.median]}" \
        -v c="${costs[bootwright.$1.median]}" -v d="${costs[nginx.$1.median]}" \
        'BEGIN { printf "  ours : nginx   %.2f in rate, %.2f in CPU\n", a / b, c / d }'
}

# Each round has every server once, in turn.
measure_rates() {
    local name count
    for _ in $(seq "$rounds"); do
        for name in $servers; do
            start "$name"
            for count in $counts; do
                case " $loads " in *' own '*) fetch_own "$name" "$count" $((count < 64 ? 100 / count : count < 1000 ? 2 : 1)) ;; esac
                case " $loads " in *' wrk '*) fetch_wrk "$name" "$count" ;; esac
            done
            stop_servers
        done
    done
    echo "== HTTP, medians of $rounds rounds, $(nproc) cores shared by both ends"
    for count in $counts; do
        row "own-$count" "a 40 MB initrd over $count connections" MB/s 1e6 "a GB"
        row "wrk-$count" "a 40 MB initrd over $count connections of wrk" MB/s 1e6 "a GB"
    done
}

measure_scripts() {
    local name
    for _ in $(seq "$rounds"); do
        for name in $servers; do
            start "$name"
            scripts "$name"
            stop_servers
        done
    done
    echo "== scripts, medians of $rounds rounds"
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
    set -- "$1" "$2" $script $loader
    keep_figure "a script $2, p99 in ms" "$1" "$4"
    keep_figure "a loader $2, p99 in ms" "$1" "$6"
    printf '  %-11s %-19s script %8.2f ms, p99 %8.2f ms   loader %8.1f ms, p99 %8.1f ms\n' "$@"
}

measure_beside() {
    local name bulk count
    echo "== a script and a 1 MB loader (TFTP in lock-step; nginx: dnsmasq's) beside bulk, p50 and p99"
    for name in $servers; do
        start "$name"
        [ "$name" = bootwright ] || start_dnsmasq
        probe "$name" "alone"
        for count in 64 1000; do
            client "$load" fetch "$address:80" "${path[$name.initrd]}" "$clients" "$count" 1000 > /dev/null 2>&1 &
            bulk=$!
            sleep 0.5
            probe "$name" "beside $count streams"
            kill "$bulk" 2> /dev/null || true
            wait "$bulk" 2> /dev/null || true
        done
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
        keep_figure "memory of 1,000 streams of 8 MB, MB" "$name" "$(awk -v kb="$kb" 'BEGIN { print kb / 1024 }')"
        awk -v n="$name" -v f="$failed" -v b="$bytes" -v s="$seconds" -v kb="$kb" \
            'BEGIN { printf "  %-11s %d failed, %.0f MB/s, peak %.1f MB\n", n, f, b / s / 1e6, kb / 1024 }'
        stop_servers
    done
}

begin_figures
for part in $parts; do "measure_$part"; done
plot_figures "HTTP: bootwright beside nginx"
