# What the benches share: the programs they need, a network that is joined to nothing, the files and the
# servers that several of them measure, and what is counted of a process. To be sourced.
#
# A bench names its network namespaces `$net-s`, the servers' end with the interface eno2, and `$net-c`,
# the clients' with eth0; `$work` is its temporary folder, and `$binary` the daemon. Logs go into a folder
# of their own there: ours watches the one of its configuration, and each line would wake it.
# shellcheck shell=bash disable=SC2154,SC2034 # the bench says them, and uses them

readonly nginx=/usr/sbin/nginx
# That of Debian's unstable suite, with the libraries of its own root, where `tests/newer-root.sh sid dnsmasq-base` put
# it; otherwise this machine's. It serves nothing yet: what it is to serve is said behind that.
newer=${BOOTWRIGHT_TEST_ROOTS:-/usr/local/lib/bootwright-tests/roots}/sid
if [ -x "$newer/usr/sbin/dnsmasq" ]; then
    dnsmasq=("$newer/lib64/ld-linux-x86-64.so.2" --library-path "$newer/usr/lib/x86_64-linux-gnu" "$newer/usr/sbin/dnsmasq")
else
    dnsmasq=(/usr/sbin/dnsmasq)
fi
dnsmasq_version=$("${dnsmasq[@]}" --version 2> /dev/null | awk 'NR == 1 { print $3 }') || true
dnsmasq+=(--keep-in-foreground --conf-file=/dev/null --port=0 --user=root --pid-file)
readonly dnsmasq dnsmasq_version

# need PROGRAM...: ends the bench where one is not here.
need() {
    local program name
    name=$(basename "$0" .sh)
    for program in "$@"; do
        [ -x "$program" ] || { echo "$name bench: $program is not here: make bench-$name installs and builds what it needs" >&2; exit 1; }
    done
}

# clean_up_with COMMAND: it runs when the bench ends, however that is, and then all that it made goes.
clean_up_with() {
    # shellcheck disable=SC2064 # the command is known now
    trap "trap '' INT TERM; $1; take_away" EXIT
    trap 'exit 130' INT TERM
}

take_away() {
    ip netns del "$net-s" 2> /dev/null || true
    ip netns del "$net-c" 2> /dev/null || true
    rm -rf "$work"
}

# stop PROCESS...: ends servers; a server's own children end with it.
stop() {
    local pid
    for pid in "$@"; do
        kill "$pid" 2> /dev/null || true
        wait "$pid" 2> /dev/null || true
    done
}

# lay_network SERVER CLIENT: both ends, each an address with its prefix.
lay_network() {
    local end namespace link
    ip netns add "$net-s"
    ip netns add "$net-c"
    ip -n "$net-s" link add eno2 type veth peer name eth0 netns "$net-c"
    ip -n "$net-s" addr add "$1" dev eno2
    ip -n "$net-c" addr add "$2" dev eth0
    for end in "$net-s lo" "$net-s eno2" "$net-c lo" "$net-c eth0"; do
        read -r namespace link <<< "$end"
        ip -n "$namespace" link set "$link" up
    done
}

# launch LOG COMMAND...: at the servers' end; $! is its process.
launch() {
    local log=$work/logs/$1
    shift
    ip netns exec "$net-s" "$@" > "$log" 2>&1 &
}

# launch_nginx ADDRESS CONNECTIONS: it serves the files; CONNECTIONS are those of one worker.
launch_nginx() {
    cat > "$work/nginx.conf" << END
daemon off;
user root;
pid $work/nginx.pid;
worker_processes auto;
worker_rlimit_nofile 20000;
events { worker_connections $2; }
http {
    access_log $work/logs/access.log combined buffer=64k flush=1s;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    server { listen $1:80 backlog=4096; root $work/files; }
}
END
    launch nginx.out "$nginx" -c "$work/nginx.conf" -e "$work/logs/nginx.log"
}

# configure FOLDER LOADERS: a configuration of ours in the folder, with its inventory from standard input.
# The images are in its folder images.
configure() {
    mkdir -p "$1/images"
    cat > "$1/bootwright.toml" << END
[network]
interfaces = ["eno2"]
[paths]
scripts = "$PWD/ipxe-scripts"
answers = "$PWD/config/answers"
images = "images"
loaders = ["$2"]
[state]
path = "state"
[admin]
socket = "admin.sock"
END
    cat > "$1/inventory.toml"
}

# The figures that a bench keeps: one line each, "row, server, value", and from them its plot. They stay when the
# bench has ended: make bench puts nothing else there.
readonly results=$(readlink -m "${RESULTS:-${CARGO_TARGET_DIR:-target}/bench}")
readonly figures=$results/$(basename "$0" .sh).tsv

# begin_figures: those of an earlier run go.
begin_figures() {
    mkdir -p "$results"
    : > "$figures"
}

# keep_figure ROW SERVER VALUE: ROW names what was measured, with its unit, and becomes a panel of the plot with a bar
# for each of its servers.
keep_figure() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >> "$figures"; }

# plot_figures TITLE: draws them beside the table as an SVG, and says where.
plot_figures() {
    [ -s "$figures" ] || return 0
    tests/bench/plot.sh "$1" "$figures" > "${figures%.tsv}.svg"
    echo "== plot: ${figures%.tsv}.svg"
}

# make_files KERNEL-BYTES INITRD-BYTES: loaders of 1 MB, a kernel and an initrd in files, and image "bench"
# of the latter two.
make_files() {
    rm -rf "$work/files" "$work/images"
    mkdir -p "$work/files" "$work/images"
    head -c 1000000 /dev/urandom > "$work/files/snponly.efi"
    cp "$work/files/snponly.efi" "$work/files/undionly.kpxe"
    head -c "$1" /dev/urandom > "$work/files/linux"
    head -c "$2" /dev/urandom > "$work/files/initrd"
    "$binary" image add bench --images "$work/images" --kernel "$work/files/linux" --initrd "$work/files/initrd" > /dev/null
    # dnsmasq serves what everybody may read.
    chmod -R a+rX "$work"
}

# with_children PROCESS...
with_children() {
    local pid
    for pid in "$@"; do
        echo "$pid"
        cat "/proc/$pid/task/$pid/children"
    done
}

# cpu_ms PROCESS...: user and system time so far with their children's, in milliseconds.
cpu_ms() {
    local pid ms=0
    for pid in $(with_children "$@"); do
        ms=$((ms + $(awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) * 1000 / hz) }' "/proc/$pid/stat")))
    done
    echo "$ms"
}

# peak_kb PROCESS...: the peak of resident memory with their children's.
peak_kb() {
    local pid kb=0
    for pid in $(with_children "$@"); do kb=$((kb + $(awk '/^VmHWM:/ { print $2 }' "/proc/$pid/status"))); done
    echo "$kb"
}

# The middle one of the figures on standard input.
median() { tr ' ' '\n' | grep . | sort -g | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

# route_clients NETWORK GATEWAY: every address of the network is a client behind the gateway. Thousands on
# one wire would measure the neighbour table.
route_clients() {
    ip -n "$net-s" route add "$1" via "$2"
    ip -n "$net-c" route add local "$1" dev lo
}
