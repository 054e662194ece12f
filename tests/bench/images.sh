#!/bin/bash
# What many gigabytes of images cost: the time until the daemon is ready, its memory while it verifies
# and while it serves, and the same again after a restart. The files are holes, so that they need no
# disk; what is measured is the daemon, not a disk.
#
#   BINARY  the daemon to measure (default: target/release/bootwright)
#   GIB     gigabytes of images, in files of 4 (default: 24)
#   WORK    where the files are made (default: a temporary folder)
#
# Everything lives in network namespaces that are joined to nothing, and goes away at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/common.sh

readonly binary=$(readlink -m "${BINARY:-${CARGO_TARGET_DIR:-target}/release/bootwright}")
readonly gib=${GIB:-24}
readonly net=bwimages-$$ address=192.0.2.1
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/bwimages.XXXXXX")
readonly work
daemon=""

need "$binary" /usr/bin/curl /usr/bin/jq

clean_up_with stop_daemon

stop_daemon() {
    stop ${daemon:+"$daemon"}
    daemon=""
}

lay_network "$address/24" 192.0.2.254/24
chmod 755 "$work"

# room NAME FILES BYTES: a configuration with so many artifacts of that length.
room() {
    printf '[[subnet]]\ncidr = "192.0.2.0/24"\npool = ["192.0.2.100-192.0.2.199"]\n' | configure "$work/$1" /usr/lib/ipxe
    truncate -s "$3" "$work/$1/hole"
    local sum number
    sum=$(sha256sum "$work/$1/hole" | cut -d' ' -f1)
    rm "$work/$1/hole"
    for number in $(seq "$2"); do
        mkdir "$work/$1/images/disk-$number"
        truncate -s "$3" "$work/$1/images/disk-$number/disk.img"
        printf 'disk = { file = "disk.img", sha256 = "%s" }\n' "$sum" > "$work/$1/images/disk-$number/image.toml"
    done
}

# Seconds since 1970 of the last log line with these words.
said_at() {
    date -d "$(grep "$1" "$log" | tail -n 1 | cut -d' ' -f1)" +%s.%N
}

minus() {
    awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a - b }'
}

memory() {
    awk -v key="$1:" '$1 == key { printf "%.1f MB", $2 / 1000 }' "/proc/$daemon/status"
}

state() {
    "$binary" status --json --socket "$work/$1/admin.sock" | jq "$2"
}

# measure NAME FILES BYTES WHAT
measure() {
    log=$work/$1/log-$4
    local start; start=$(date +%s.%N)
    ip netns exec "$net-s" "$binary" serve --config "$work/$1/bootwright.toml" > "$log" 2>&1 &
    daemon=$!
    until grep -qs "ready:" "$log"; do
        kill -0 "$daemon" || { cat "$log" >&2; exit 1; }
        sleep 0.02
    done
    local ready rss; ready=$(minus "$(said_at ready:)" "$start") rss=$(memory VmRSS)
    until [ "$(state "$1" .artifacts.verified)" = "$2" ]; do sleep 0.5; done
    local read took="none"; read=$(state "$1" .counters.artifact_bytes_read)
    if [ "$read" -gt 0 ]; then
        took=$(minus "$(said_at 'is verified, ')" "$(said_at ready:)")
        took="$took s, $(awk -v b="$read" -v t="$took" 'BEGIN { printf "%.0f MB/s", b / 1e6 / (t > 0 ? t : 0.01) }')"
    fi
    local verified; verified=$(memory VmHWM)
    local rate; rate=$(ip netns exec "$net-c" curl -sSf -o /dev/null -w '%{speed_download}' \
        "http://$address/image/disk-1/disk.img")
    printf '  %-6s %-6s ready %5.2f s  RSS %8s   verifying %-22s peak %8s   one of them by HTTP %5.0f MB/s  peak %8s\n' \
        "$1" "$4" "$ready" "$rss" "$took" "$verified" "$(awk -v r="$rate" 'BEGIN { print r / 1e6 }')" "$(memory VmHWM)"
    stop_daemon
}

readonly files=$(((gib + 3) / 4))
room 24MiB 1 $((24 * 1024 * 1024))
room "${gib}GiB" "$files" $((4 * 1024 * 1024 * 1024))
echo "== images of 24 MiB and of $((files * 4)) GiB in $files files, each at its first start and its second"
for start in first second; do
    measure 24MiB 1 $((24 * 1024 * 1024)) $start
    measure "${gib}GiB" "$files" $((4 * 1024 * 1024 * 1024)) $start
done
