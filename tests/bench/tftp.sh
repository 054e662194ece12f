#!/bin/bash
# TFTP beside dnsmasq, tftpd-hpa and async-tftp, in one run: a rate and the server's own CPU time for
# a gigabyte, each the median of RUNS runs. Both ends share this machine's cores. Every byte is
# compared; a failure, and anything said twice on this wire that loses nothing, is shown.
#
# Over a veth whoever sends a packet also carries it into the other end's socket, so part of each
# figure is the clients' own work. Two rows show what is the kernel's alone: "bare" answers every ACK
# with the next block, one packet at a time and without a thought, and "bare-batch" many at a time.
#
#   BINARY   the daemon to measure (default: target/release/bootwright); LOAD, PEER and BARE beside it
#   RUNS     how often each is measured (default: 3)
#   SERVERS  which (default: "bootwright single-port dnsmasq tftpd-hpa async-tftp bare bare-batch")
#   CASES    what (default: "lockstep window4 window16 memory")
#
# Everything lives in network namespaces that are joined to nothing, and goes away at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/common.sh

readonly target=${CARGO_TARGET_DIR:-target}/release
readonly binary=$(readlink -m "${BINARY:-$target/bootwright}")
readonly load=$(readlink -m "${LOAD:-$target/examples/tftp-load}") peer=$(readlink -m "${PEER:-$target/examples/tftp-peer}")
readonly bare=$(readlink -m "${BARE:-$target/examples/tftp-bare}")
readonly runs=${RUNS:-3} cases=${CASES:-lockstep window4 window16 memory}
readonly servers=${SERVERS:-bootwright single-port dnsmasq tftpd-hpa async-tftp bare bare-batch}
readonly tftpd=/usr/sbin/in.tftpd
readonly net=bwtftp-$$
readonly address=198.18.0.1 gateway=198.18.0.2 clients=198.19.0.1
work=$(mktemp -d)
readonly work
server=''
declare -A rate cpu again

need "$binary" "$load" "$peer" "$bare" "${dnsmasq[0]}" "$tftpd"

# The server's processes are counted as a control group, children that are gone too. Where none can be
# made, its first process is, and tftpd-hpa has no figure.
group=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
group=${group:+$group/$net}
{ [ -n "$group" ] && mkdir "$group" 2> /dev/null && [ -r "$group/cpu.stat" ]; } || group=''

# shellcheck disable=SC2317 # called at the end
end_server() {
    [ -z "$server" ] || kill -9 "$server" 2> /dev/null || true
    [ -z "$group" ] || rmdir "$group" 2> /dev/null || true
}
clean_up_with end_server

lay_network "$address/24" "$gateway/24"
route_clients 198.19.0.0/16 "$gateway"

chmod 755 "$work"
mkdir "$work/loaders"
head -c 850000 /dev/urandom > "$work/loaders/loader.efi"
head -c 8000000 /dev/urandom > "$work/loaders/kernel.efi"

start_bootwright() {
    printf '[[subnet]]\ncidr = "198.18.0.0/24"\n' | configure "$work" loaders
    printf '[tftp]\n%s\n[unknown]\npolicy = "lease"\n' "$1" >> "$work/bootwright.toml"
    run "$binary" serve --config "$work/bootwright.toml"
}

start() {
    case $1 in
    bootwright) start_bootwright "" ;;
    single-port) start_bootwright "single_port = true" ;;
    dnsmasq) run "${dnsmasq[@]}" --enable-tftp --tftp-root="$work/loaders" --tftp-max=1100 ;;
    tftpd-hpa) run "$tftpd" -L -4 -u root -a "$address:69" -s "$work/loaders" ;;
    async-tftp) run "$peer" "$address:69" "$work/loaders" ;;
    bare) run "$bare" "$address:69" "$work/loaders/loader.efi" ;;
    bare-batch) run "$bare" "$address:69" "$work/loaders/loader.efi" eno2 ;;
    esac
    for _ in $(seq 50); do
        sleep 0.1
        kill -0 "$server" 2> /dev/null || { echo "tftp bench: $1 ended: $(tail -n 3 "$work/log")" >&2; exit 1; }
        [ "$(measure 1 1468 0 loader.efi | cut -d' ' -f2)" = 0 ] && return
    done
    echo "tftp bench: $1 does not answer: $(tail -n 3 "$work/log")" >&2
    exit 1
}

run() {
    (
        [ -z "$group" ] || echo "$BASHPID" > "$group/cgroup.procs"
        exec ip netns exec "$net-s" "$@"
    ) > "$work/log" 2>&1 &
    server=$!
}

stop_server() {
    kill "$server"
    wait "$server" 2> /dev/null || true
    server=''
}

# User and system time of the server so far, in microseconds.
cpu_us() {
    if [ -n "$group" ]; then
        awk '/^usage_usec/ { print $2 }' "$group/cpu.stat"
    else
        awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) * 1000000 / hz) }' "/proc/$server/stat"
    fi
}

# CLIENTS BLKSIZE WINDOWSIZE FILE
measure() {
    ip netns exec "$net-c" "$load" "$address:69" "$4" "$work/loaders/$4" "$clients" "$1" "$2" "$3"
}

# SERVER CASE CLIENTS BLKSIZE WINDOWSIZE FILE
row() {
    local name=$1 what=$2 before used n failed bytes seconds retries repeated early rates='' costs='' said=''
    case " $cases " in *" $what "*) ;; *) return ;; esac
    for _ in $(seq "$runs"); do
        before=$(cpu_us)
        read -r n failed bytes seconds retries repeated early < <(measure "$3" "$4" "$5" "$6")
        sleep 0.1
        used=$(($(cpu_us) - before))
        rates+=$(awk -v b="$bytes" -v s="$seconds" 'BEGIN { printf "%.1f ", b / s / 1e6 }')
        costs+=$(awk -v b="$bytes" -v us="$used" 'BEGIN { printf "%.2f ", b ? us / 1e6 / (b / 1e9) : 0 }')
        said+="$((retries + repeated + early)) "
        [ "$failed $repeated $early" = "0 0 0" ] ||
            echo "    $name: of $n clients $failed failed; $retries words said again, $repeated blocks twice, $early early"
    done
    rate[$name.$what]=$(median <<< "$rates")
    cpu[$name.$what]=$(median <<< "$costs")
    again[$name.$what]=$(median <<< "$said")
    # A process for each request, gone before its time can be read.
    [ -n "$group" ] || [ "$name" != tftpd-hpa ] || cpu[$name.$what]=0
}

echo "== TFTP, medians of $runs, $(nproc) cores shared by both ends, blocks of 1468 bytes"
for name in $servers; do
    start "$name"
    row "$name" lockstep 1000 1468 0 loader.efi
    case $name in bare*) ;; *)
        row "$name" window4 1000 1468 4 loader.efi
        row "$name" window16 20 1468 16 kernel.efi
        ;;
    esac
    stop_server
done

# CASE PEER WORDS: a table of one case; what stands behind a colon is PEER's figure by the row's.
table() {
    case " $cases " in *" $1 "*) ;; *) return ;; esac
    echo "$3"
    printf '  %-12s %8s  %-10s %10s  %-10s %s\n' server MB/s ": $2" "CPU s/GB" ": $2" "said again"
    for name in $servers; do
        [ -n "${rate[$name.$1]:-}" ] || continue
        awk -v name="$name" -v rate="${rate[$name.$1]}" -v peer="${rate[$2.$1]:-0}" -v cpu="${cpu[$name.$1]}" \
            -v peer_cpu="${cpu[$2.$1]:-0}" -v again="${again[$name.$1]}" '
            function by(a, b) { return a && b ? sprintf("%.2f", a / b) : "-" }
            BEGIN { printf "  %-12s %8.1f  %-10s %10s  %-10s %d\n", name, rate, by(rate, peer), cpu ? cpu : "-", by(cpu, peer_cpu), again }'
    done
}
table lockstep dnsmasq "1,000 clients x 850 KB in lock-step"
table window4 dnsmasq "1,000 clients x 850 KB in windows of 4"
table window16 tftpd-hpa "20 clients x 8 MB in windows of 16"

case " $cases " in *" memory "*) ;; *) exit 0 ;; esac
rss_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$server/status"; }
# As its unit does; a machine that allows fewer has fewer transfers, and the row says how many.
ulimit -n 65536 2> /dev/null || ulimit -n "$(ulimit -H -n)"
echo "== memory of 10,000 clients' open transfers, with $(ulimit -n) descriptors"
start bootwright
before=$(rss_kb)
ip netns exec "$net-c" "$load" "$address:69" loader.efi "$work/loaders/loader.efi" "$clients" 10000 1468 0 5 > "$work/open" &
opener=$!
for _ in $(seq 120); do
    sleep 0.1
    [ -s "$work/open" ] && break
done
after=$(rss_kb)
awk -v a="$before" -v b="$after" -v o="$(cat "$work/open")" \
    'BEGIN { split(o, w, " "); printf "  %s; RSS %.1f MB, %.1f MB before: %.2f KB a transfer\n", o, b / 1024, a / 1024, w[1] ? (b - a) / w[1] : 0 }'
kill "$opener" 2> /dev/null || true
wait "$opener" 2> /dev/null || true
stop_server
