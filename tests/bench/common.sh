# What the benches share: the programs they need, and a network that is joined to nothing. To be sourced.
#
# A bench names its network namespaces `$net-s`, the servers' end with the interface eno2, and `$net-c`,
# the clients' with eth0; `$work` is its temporary folder. Logs go into a folder of their own there: ours
# watches the one of its configuration, and each line would wake it.
# shellcheck shell=bash disable=SC2154 # the bench says them

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

# route_clients NETWORK GATEWAY: every address of the network is a client behind the gateway. Thousands on
# one wire would measure the neighbour table.
route_clients() {
    ip -n "$net-s" route add "$1" via "$2"
    ip -n "$net-c" route add local "$1" dev lo
}
