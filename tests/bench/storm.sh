#!/bin/bash
# A storm of machines, whole boot chains: ours beside dnsmasq (DHCP, TFTP) with nginx (HTTP), with a
# 1 MB loader each and an image of 8 MB, then of 50 MB, where the bytes dominate both; first all in
# the same moment, then so slowly that either server brings all of them up at the first try.
# Then ours alone with more and more machines, up to ten thousand. Then a late comer: how long DHCP, the loader and a
# script take while a thousand images are on their way. Both ends share this machine's cores, so the server's
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
#   FLEETS    the sizes of the part "fleets" (default: 10 100 1000 4000 10000)
#   ROUNDS    which parts run (default: "8 50 fleets late")
#   LOAD, TFTP_LOAD, DHCP_LOAD   the clients of "late" (default: those in target/release/examples)
#
# Everything lives in network namespaces that are joined to nothing, and goes away at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/common.sh

readonly binary=$(readlink -m "${BINARY:-${CARGO_TARGET_DIR:-target}/release/bootwright}")
readonly examples=${CARGO_TARGET_DIR:-target}/release/examples
readonly load=$(readlink -m "${LOAD:-$examples/http-load}") tftp_load=$(readlink -m "${TFTP_LOAD:-$examples/tftp-load}")
readonly dhcp_load=$(readlink -m "${DHCP_LOAD:-$examples/dhcp-load}")
readonly machines=${MACHINES:-1000} fleets=${FLEETS:-10 100 1000 4000 10000} rounds=${ROUNDS:-8 50 fleets late}
readonly spreads=${SPREADS:-0 10} cycles=${CYCLES:-5} limit=${LIMIT:-300}
readonly net=bwstorm-$$
readonly address=192.0.2.1 host=192.0.2.254 fleet=198.18.0.0/16 relay=198.18.0.1
work=$(mktemp -d)
readonly work
mkdir "$work/logs"
servers=()
declare -A last up

need "$binary" "${dnsmasq[0]}" "$nginx" /usr/bin/jq

case $rounds in *late*) need "$load" "$tftp_load" "$dhcp_load" ;; esac

clean_up_with stop_servers

stop_servers() {
    stop "${servers[@]}"
    servers=()
}

lay_network "$address/24" "$host/24"
route_clients "$fleet" "$host"
# As many open files as the unit has.
ulimit -n 65536 2> /dev/null || ulimit -n "$(ulimit -Hn)"

# MEGABYTES: both serve the same image of that size, a quarter of it kernel.
make_image() {
    make_files $(($1 * 250000)) $(($1 * 750000))
    printf '#!ipxe\nkernel linux\ninitrd initrd\nboot\n' > "$work/files/boot.ipxe"
}

start_bootwright() {
    configure "$work" files << END
[[subnet]]
cidr  = "$fleet"
pool  = ["198.18.1.0-198.18.63.255"]
lease = "1h"
[profile.fleet]
image  = "bench"
boot   = "live"
script = "live"
[[rule]]
match   = { arch = "x86_64" }
profile = "fleet"
END
    rm -rf "$work/state"
    launch bootwright.log "$binary" serve --config "$work/bootwright.toml"
    servers=($!)
    # jq of Debian 12 is content with no answer at all.
    await bash -o pipefail -c "'$binary' status --json --socket '$work/admin.sock' | jq --exit-status '.artifacts.unserved == []'"
}

start_peers() {
    launch dnsmasq.log "${dnsmasq[@]}" --interface=eno2 \
        --dhcp-leasefile="$work/dnsmasq.leases" --dhcp-lease-max=150000 --quiet-dhcp --no-ping \
        --dhcp-range=198.18.1.0,198.18.63.255,255.255.0.0,1h --dhcp-userclass=set:ipxe,iPXE \
        --dhcp-boot="tag:!ipxe,snponly.efi,,$address" --dhcp-boot="tag:ipxe,http://$address/boot.ipxe,,$address" \
        --enable-tftp --tftp-root="$work/files" --tftp-max=10000 --quiet-tftp
    servers=($!)
    launch_nginx "$address" 16384
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

# NAME MACHINES SPREAD: one storm.
storm() {
    local before ms mb
    before=$(cpu_ms "${servers[@]}")
    ip netns exec "$net-c" "$binary" storm --server "$address" --relay "$relay" --machines "$2" --spread "$3" \
        --power-cycles "$cycles" --time-limit "$limit" --json > "$work/report" 2> "$work/progress" || true
    ms=$(($(cpu_ms "${servers[@]}") - before)) mb=$(($(peak_kb "${servers[@]}") / 1024))
    jq -r --arg name "$1" --arg ms "$ms" --arg mb "$mb" '
        def stage(s): first(.stages[] | select(.stage == s) | .p99_ms | round) // 0;
        def gb: .bytes / 1e9;
        "  \($name)\t\(.machines) machines\t\(.up) up\tpowered on again \(.power_cycled)\tlast \(.last_up_s // 0 | . * 100 | round / 100) s\tsaid again \(.repeated)\tserver CPU \($ms) ms, \(if gb > 0 then ($ms | tonumber) / 1000 / gb * 100 | round / 100 else 0 end) s/GB\tpeak \($mb) MB",
        "    p99 ms: DHCP \(stage("firmware")) loader \(stage("loader")) iPXE \(stage("ipxe")) script \(stage("script")) kernel \(stage("kernel")) initrd \(stage("initrd"))",
        (.setbacks[] | "    \(.machines) x powered on again at \(.stage): \(.sentence) \(.detail)"),
        (.failures[] | "    \(.machines) failed at \(.stage): \(.sentence) \(.detail)")' "$work/report"
    last[$1]=$(jq -r '.last_up_s // 0' "$work/report")
    up[$1]=$(jq -r '.up == .machines' "$work/report")
}

# NAME SCRIPT INITRD: what a late comer waits for while a thousand images are on their way, p50 and p99.
late() {
    local bulk script loader dhcp
    client "$load" fetch "$address:80" "$3" 198.18.64.1 1000 1000 > "$work/bulk" 2>&1 &
    bulk=$!
    sleep 3
    dhcp=$(client "$dhcp_load" "$address" eth0 "$relay" 100 20 10 | awk '{ print $3, 100 * ($1 - $2) / $1 }')
    script=$(client "$load" probe "$address:80" "$2" 198.18.200.1 300)
    loader=$(for _ in $(seq 40); do
        client "$tftp_load" "$address:69" snponly.efi "$work/files/snponly.efi" 198.18.200.1 1 1468 0 |
            awk '{ print $2 ? 99999 : $4 * 1000 }'
    done | sort -g | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)], all[int(NR * 0.99)] }')
    kill -0 "$bulk" 2> /dev/null || { echo "storm bench: the images were there too soon: $(cat "$work/bulk")" >&2; exit 1; }
    kill "$bulk" && wait "$bulk" 2> /dev/null || true
    # shellcheck disable=SC2086 # two words each
    set -- "$1" $dhcp $script $loader
    printf '  %-14s DHCP p99 %.1f ms (dropped %.2f %%)   script %.1f ms, p99 %.1f ms   loader %.1f ms, p99 %.1f ms\n' "$@"
    keep_figure "a late comer beside 1,000 images: DHCP, p99 ms" "$1" "$2"
    keep_figure "the same: script, p99 ms" "$1" "$5"
    keep_figure "the same: 1 MB loader, p99 ms" "$1" "$7"
}

client() { ip netns exec "$net-c" "$@"; }

begin_figures
echo "dnsmasq $dnsmasq_version, $("$nginx" -v 2>&1)"
for megabytes in $rounds; do
    case $megabytes in fleets | late) continue ;; esac
    make_image "$megabytes"
    for spread in $spreads; do
        echo "== $machines machines within $spread s, a 1 MB loader and $megabytes MB of image each, $(nproc) cores shared by both ends"
        start_peers && storm dnsmasq+nginx "$machines" "$spread" && stop_servers
        start_bootwright && storm bootwright "$machines" "$spread" && stop_servers
        for name in bootwright dnsmasq+nginx; do
            keep_figure "$machines machines within $spread s, $megabytes MB: last up, s" "$name" "${last[$name]}"
        done
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
    make_image 8
    for size in $fleets; do
        start_bootwright && storm "$size" "$size" 0 && stop_servers
        awk -v t="${last[$size]}" -v n="$size" 'BEGIN { printf "    %.2f ms a machine\n", 1000 * t / n }'
        keep_figure "ours, all at once, 8 MB: ms a machine" "$size" "$(awk -v t="${last[$size]}" -v n="$size" 'BEGIN { print 1000 * t / n }')"
    done
esac

case $rounds in *late*)
    echo "== a late comer while 1,000 images of 50 MB are on their way"
    make_image 50
    start_peers && late dnsmasq+nginx /boot.ipxe /initrd && stop_servers
    start_bootwright && late bootwright "/boot.ipxe?mac=02-00-00-00-00-07&uuid=00000000-0000-0000-0000-020000000007&arch=x86_64&platform=efi" /image/bench/initrd && stop_servers
esac
plot_figures "A storm of machines"
