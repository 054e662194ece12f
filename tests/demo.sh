#!/bin/bash
# The demo: a virtual server is powered on beside a Bootwright with the configuration as shipped,
# and boots Debian's installer over the network. Each line is the daemon's own.
#
#   FIRMWARE=uefi (default; EDK2's own PXE) or bios (SeaBIOS with the iPXE of its NIC)
#
# Everything lives in network namespaces that are joined to nothing, and goes away at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly firmware=${FIRMWARE:-uefi}
readonly mac=52:54:00:00:00:07 host=r1u07
readonly limit_seconds=420
readonly net=bootwright-demo-$$
readonly binary=${CARGO_TARGET_DIR:-target}/debug/bootwright
work=$(mktemp -d)
readonly work
chmod 755 "$work"
daemon='' machine='' follower=''
made=()

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# The state and the socket lie where the shipped configuration says, but on file systems of the
# daemon's own; only the empty mount points are made, and they go again.
mount_point() {
    [ -d "$1" ] && return
    mkdir "$1"
    made+=("$1")
}

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    trap '' INT TERM
    local pid folder
    for pid in $machine $daemon $follower; do kill "$pid" 2> /dev/null || true; done
    for pid in $machine $daemon $follower; do wait "$pid" 2> /dev/null || true; done
    ip netns del "$net" 2> /dev/null || true
    for folder in "${made[@]}"; do rmdir "$folder" 2> /dev/null || true; done
    rm -rf "$work"
}

fail() {
    printf '\nThe demo failed: %s\n' "$1" >&2
    printf -- '--- the machine'\''s console\n%s\n' "$(tail -c 2000 "$work/console" 2> /dev/null | tr -cd '\n -~')" >&2
    printf -- '--- the daemon'\''s log\n%s\n' "$(tail -n 20 "$work/log" 2> /dev/null)" >&2
    exit 1
}

# Waits for a line in a file, and stops when the process that writes it is gone.
wait_line() { # PATTERN FILE SECONDS PID WHAT
    local end=$((SECONDS + $3))
    until grep -aq -- "$1" "$2" 2> /dev/null; do
        kill -0 "$4" 2> /dev/null || fail "$5 did not happen: the process that would do it has ended"
        [ $SECONDS -lt $end ] || fail "$5 did not happen within $3 s"
        sleep 0.2
    done
}

lay_the_wire() {
    ip netns add "$net"
    ip -n "$net" link set lo up
    ip -n "$net" link add eno2 type bridge forward_delay 0
    ip -n "$net" addr add 192.0.2.1/24 dev eno2
    ip -n "$net" tuntap add port1 mode tap
    ip -n "$net" link set port1 master eno2 up
    ip -n "$net" link set eno2 up
}

start_daemon() {
    mount_point /var/lib/bootwright
    mount_point /run/bootwright
    # The daemon gives up root at once; whoever owns the checkout can read it.
    local owner user=()
    owner=$(stat -c %U config)
    [ "$owner" = UNKNOWN ] || user=(--user "$owner")
    : > "$work/log"
    ip netns exec "$net" unshare --mount sh -c '
        mount -t tmpfs -o mode=0755 tmpfs /var/lib/bootwright
        mount -t tmpfs -o mode=0755 tmpfs /run/bootwright
        exec "$@"' sh "$binary" serve --config config/bootwright.toml "${user[@]}" > "$work/log" 2>&1 &
    daemon=$!
    tail -n +1 -s 0.1 -f "$work/log" --pid "$daemon" &
    follower=$!
    wait_line "ready: " "$work/log" 30 "$daemon" "the daemon's start"
    wait_line "image debian-12/initrd.gz is verified" "$work/log" 60 "$daemon" "the verification of its initrd"
}

firmware_arguments() {
    case $firmware in
        bios) printf '%s\n' -device "virtio-net-pci,netdev=net0,mac=$mac" -boot order=nc ;;
        uefi)
            cp /usr/share/OVMF/OVMF_VARS_4M.fd "$work/variables.fd"
            printf '%s\n' -device "virtio-net-pci,netdev=net0,mac=$mac,romfile=" \
                -drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd \
                -drive "if=pflash,format=raw,unit=1,file=$work/variables.fd" \
                -fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=n
            ;;
        *) fail "FIRMWARE is uefi or bios, not $firmware" ;;
    esac
}

power_on() {
    local arguments
    mapfile -t arguments < <(firmware_arguments)
    : > "$work/console"
    ip netns exec "$net" qemu-system-x86_64 -accel tcg -m 1024 -nographic -vga none -no-reboot -monitor none \
        -serial "file:$work/console" -netdev tap,id=net0,ifname=port1,script=no,downscript=no \
        "${arguments[@]}" < /dev/null > "$work/machine" 2>&1 &
    machine=$!
}

[ "$(id -u)" = 0 ] || { echo "the demo makes network namespaces, which needs root: sudo make demo" >&2; exit 1; }
[ -x "$binary" ] || { echo "$binary is not built: run make demo" >&2; exit 1; }
trap clean_up EXIT
trap 'exit 130' INT TERM

say "a provisioning network of its own: bridge eno2, 192.0.2.1/24"
lay_the_wire
say "bootwright serve --config config/bootwright.toml"
start_daemon
say "power on $host ($mac, $firmware firmware, no disk)"
started=$SECONDS
power_on
wait_line "sent script" "$work/log" $limit_seconds "$machine" "the script"
wait_line "sent.*initrd" "$work/log" $limit_seconds "$machine" "the kernel and its initrd"
wait_line "Linux version" "$work/console" $limit_seconds "$machine" "the kernel's start"
say "the machine's console: $(grep -a -o 'Linux version [^ ]*' "$work/console" | head -n 1)"
wait_line "sent answer" "$work/log" $limit_seconds "$machine" "the installer's question for its answer"
sleep 0.5
say "Success: $host went from power-on to its installer's answer in $((SECONDS - started)) s"
