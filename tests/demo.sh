#!/bin/bash
# The demo: a virtual server is powered on beside a Bootwright with the configuration as shipped,
# and boots Debian's installer over the network. Each line is the daemon's own.
#
#   FIRMWARE=uefi (default; EDK2's own PXE) or bios (SeaBIOS with the iPXE of its NIC)
#   IMAGE=debian-12 (default: what the inventory names), a folder of images/
#   CONFIG=FOLDER (default: config), IMAGES=FOLDER (default: images), BOOTWRIGHT=BINARY
#
# Everything lives in network namespaces that are joined to nothing, and goes away at the end. What can't
# succeed ends as soon as that is seen, with its reason.
set -euo pipefail
cd "$(dirname "$0")/.."
# The daemon is not root, and reads what is written here.
umask 022

readonly firmware=${FIRMWARE:-uefi} config=${CONFIG:-config} images=${IMAGES:-images}
readonly binary=${BOOTWRIGHT:-${CARGO_TARGET_DIR:-target}/debug/bootwright}
readonly mac=52:54:00:00:00:07 host=r1u07
# A good boot is never silent for so long, on its console and in the log, however slow the machine it runs on.
readonly silence_seconds=90
# While it goes on it may take its time: emulation on a busy machine is slow.
readonly limit_seconds=1800
readonly net=bootwright-demo-$$
work=$(mktemp -d)
readonly work
chmod 755 "$work"
daemon='' machine='' follower='' image=''
made=()

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

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

# Before anything was started: the reason is all there is to say.
refuse() {
    printf '\nThe demo cannot run: %s\n' "$1" >&2
    exit 1
}

fail() {
    printf '\nThe demo failed: %s\n' "$1" >&2
    if [ -s "$work/machine" ]; then printf -- '--- qemu\n%s\n' "$(tail -n 5 "$work/machine")" >&2; fi
    printf -- '--- the machine'\''s console\n%s\n' "$(tail -c 2000 "$work/console" 2> /dev/null | tr -cd '\n -~')" >&2
    printf -- '--- the daemon'\''s log\n%s\n' "$(tail -n 20 "$work/log" 2> /dev/null)" >&2
    exit 1
}

# The files of EDK2 for a PC, where Debian or another distribution has them.
find_ovmf() {
    local code
    for code in /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_CODE.fd /usr/share/edk2/x64/OVMF_CODE.4m.fd; do
        if [ -e "$code" ] && [ -e "${code/CODE/VARS}" ]; then
            ovmf_code=$code ovmf_vars=${code/CODE/VARS}
            return
        fi
    done
    refuse "no UEFI firmware is here, /usr/share/OVMF/OVMF_CODE_4M.fd with its OVMF_VARS_4M.fd: apt install ovmf, or FIRMWARE=bios make demo"
}

# The image that the demo boots: what the inventory names, unless that is not here and another release's is.
choose_image() {
    local named
    named=$(sed -n 's/^ *image *= *"\(debian-[^"]*\)".*/\1/p' "$config/inventory.toml" 2> /dev/null | head -n 1)
    image=${IMAGE:-$named}
    [ -n "$image" ] || refuse "$config/inventory.toml names no image of Debian's installer"
    [ -e "$images/$image/image.toml" ] \
        || refuse "image $image is not in $images/: make images takes it from Debian's netboot package, bootwright image fetch $image --images $images from the internet"
    if [ "$image" = "$named" ] && [ "$images" = images ]; then return; fi
    # Templates and scripts are found from the configuration's folder, so the copy has all beside it.
    mkdir "$work/room"
    cp -R "$config" "$work/room/config"
    cp -R ipxe-scripts "$work/room/ipxe-scripts"
    sed -i "s/^\( *image *= *\)\"$named\"/\1\"$image\"/" "$work/room/config/inventory.toml"
    sed -i "s|^images *=.*|images = \"$(realpath "$images")\"|" "$work/room/config/bootwright.toml"
    [ "$image" = "$named" ] || say "$config/inventory.toml with image $image in place of $named, which is not what this release has"
    served=$work/room/config
}

preflight() {
    local program output
    [ "$(id -u)" = 0 ] || refuse "it makes network namespaces, which needs root: sudo make demo"
    [ -x "$binary" ] || refuse "$binary is not built: run make demo"
    for program in qemu-system-x86_64 ip unshare; do
        command -v "$program" > /dev/null || refuse "$program is not here: tests/install-packages.sh demo installs it"
    done
    case $firmware in
        bios) ;;
        uefi) find_ovmf ;;
        *) refuse "FIRMWARE is uefi or bios, not $firmware" ;;
    esac
    [ -c /dev/net/tun ] || refuse "/dev/net/tun is not here; a container needs it: docker run --device /dev/net/tun --cap-add NET_ADMIN --cap-add SYS_ADMIN …"
    served=$config
    choose_image
    output=$("$binary" check "$served" 2>&1) \
        || refuse "bootwright check finds this wrong:"$'\n'"$output"
    output=$(ip netns add "$net" 2>&1) \
        || refuse "no network namespace can be made here ($output); a container needs --cap-add NET_ADMIN --cap-add SYS_ADMIN, or --privileged"
}

# Why this boot can't come to its end any more; nothing while it still can.
hopeless() {
    local line
    line=$(grep -a "machine=\"${mac//:/-}\"" "$work/log" | head -n 1)
    if [ -n "$line" ]; then
        echo "Bootwright does not know the machine: no host of the inventory has its MAC, $mac"
        return
    fi
    line=$(grep -a "mac=\"$mac\"" "$work/log" 2> /dev/null | grep -aE ' (ignored: |not offered |not answered: |failed (script|image|answer))|no loader for |: its disk|sent script local' | head -n 1)
    if [ -n "$line" ]; then
        echo "Bootwright saw the machine and gave it no installer: ${line#* boot: }"
        return
    fi
    line=$(grep -aoE 'image [^ ]+ is not served: .*|rogue DHCP server .*' "$work/log" | head -n 1)
    if [ -n "$line" ]; then echo "$line"; return; fi
    line=$(tr -d '\r' < "$work/console" 2> /dev/null | grep -aoE 'No bootable (option|device).*|UEFI Interactive Shell|PXE-E[0-9]+.*|Kernel panic.*|Operating System not found.*' | head -n 1)
    if [ -n "$line" ]; then
        if ! grep -aq "mac=\"$mac\"" "$work/log"; then
            echo "the firmware asked the network for nothing (\"$line\"): EDK2 from 2025.02 on starts no network without a random number generator (-device virtio-rng-pci)"
        else
            echo "the machine gave up: $line"
        fi
        return
    fi
    # iPXE tries some things that need not be there, and says so once; what fails again and again is what it needs.
    line=$(grep -aoE 'https?://ipxe\.org/[0-9a-f]{8}' "$work/console" 2> /dev/null | sort | uniq -c | sort -rn | awk '$1 >= 4 {print $2}' | head -n 1)
    if [ -n "$line" ]; then echo "iPXE fails again and again: $line explains"; fi
}

# Waits for a line in a file, and stops when the process that writes it is gone, nothing is said any more,
# or what was said leaves no hope.
wait_line() { # PATTERN FILE SECONDS PID WHAT
    local end=$((SECONDS + $3)) spoke=$SECONDS size=0 now reason
    until grep -aq -- "$1" "$2" 2> /dev/null; do
        kill -0 "$4" 2> /dev/null || fail "$5 did not happen: the process that would do it has ended"
        reason=$(hopeless) || true
        [ -z "$reason" ] || fail "$5 will not happen. $reason"
        now=$(cat "$work/log" "$work/console" 2> /dev/null | wc -c)
        [ "$now" = "$size" ] || { size=$now; spoke=$SECONDS; }
        [ $((SECONDS - spoke)) -lt $silence_seconds ] \
            || fail "$5 did not happen: nothing on the console or in the log for $silence_seconds s"
        [ $SECONDS -lt $end ] || fail "$5 did not happen within $3 s"
        sleep 0.2
    done
}

lay_the_wire() {
    ip -n "$net" link set lo up
    ip -n "$net" link add eno2 type bridge forward_delay 0
    ip -n "$net" addr add 192.0.2.1/24 dev eno2
    ip -n "$net" tuntap add port1 mode tap
    ip -n "$net" link set port1 master eno2 up
    ip -n "$net" link set eno2 up
}

# The state and the socket lie where the shipped configuration says, but on file systems of the
# daemon's own; only the empty mount points are made, and they go again.
mount_point() {
    [ -d "$1" ] && return
    mkdir "$1"
    made+=("$1")
}

start_daemon() {
    mount_point /var/lib/bootwright
    mount_point /run/bootwright
    # The daemon gives up root at once; whoever owns the checkout can read it.
    local owner user=()
    owner=$(stat -c %U config)
    [ "$owner" = UNKNOWN ] || user=(--user "$owner")
    ip netns exec "$net" unshare --mount sh -c '
        mount -t tmpfs -o mode=0755 tmpfs /var/lib/bootwright
        mount -t tmpfs -o mode=0755 tmpfs /run/bootwright
        exec "$@"' sh "$binary" serve --config "$served/bootwright.toml" "${user[@]}" > "$work/log" 2>&1 &
    daemon=$!
    tail -n +1 -s 0.1 -f "$work/log" --pid "$daemon" &
    follower=$!
    wait_line "ready: " "$work/log" 30 "$daemon" "the daemon's start"
    wait_line "image $image/initrd.gz is verified" "$work/log" 60 "$daemon" "the verification of its initrd"
}

firmware_arguments() {
    case $firmware in
        bios) printf '%s\n' -device "virtio-net-pci,netdev=net0,mac=$mac" -boot order=nc ;;
        uefi)
            cp "$ovmf_vars" "$work/variables.fd"
            printf '%s\n' -device "virtio-net-pci,netdev=net0,mac=$mac,romfile=" \
                -drive "if=pflash,format=raw,unit=0,readonly=on,file=$ovmf_code" \
                -drive "if=pflash,format=raw,unit=1,file=$work/variables.fd" \
                -fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=n
            ;;
    esac
}

# Without the random number generator EDK2 from 2025.02 on has no network at all.
power_on() {
    local arguments
    mapfile -t arguments < <(firmware_arguments)
    ip netns exec "$net" qemu-system-x86_64 -accel tcg -m 1024 -nographic -vga none -no-reboot -monitor none \
        -serial "file:$work/console" -netdev tap,id=net0,ifname=port1,script=no,downscript=no \
        -device virtio-rng-pci "${arguments[@]}" < /dev/null > "$work/machine" 2>&1 &
    machine=$!
}

trap clean_up EXIT
trap 'exit 130' INT TERM
: > "$work/log"
: > "$work/console"
preflight

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
