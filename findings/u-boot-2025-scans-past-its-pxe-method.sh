#!/bin/bash
# U-Boot 2025.01 for QEMU's arm64 board (Debian 13's u-boot-qemu 2025.01-3+deb13u1): its default boot, `bootflow
# scan -lb`, boots nothing from a network whose server has both an EFI program and a pxelinux.cfg, though either
# can be booted by hand.
#
#   method efi: fetches the whole EFI program by TFTP, says "Bytes transferred", and ends in err=-22; it is never
#               started. No error is shown without -e.
#   method pxe: ends in err=-524 before it sends a packet, also as the only method of `bootmeth order`;
#               pxelinux.cfg is never asked for.
#
# By hand it is one line: `setenv autoload no; dhcp && pxe get && pxe boot` asks for pxelinux.cfg/01-MAC and goes
# on. So a boot server that logs a loader sent whole and silence behind it may see a board that was never going
# to start it.
#
# Needs root (a network namespace of its own, 192.0.2.0/24, joined to nothing), a mirror with Debian 13, and from
# the machine's own release qemu-system-aarch64, dnsmasq and python3. Output seen:
#
#   default: err=-22 of efi, err=-524 of pxe; the server sent program.efi
#   by hand: the server sent 01-52-54-00-00-00-41
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "this makes a network namespace: run it as root" >&2; exit 2; }
work=$(mktemp -d)
space=finding-$$ server=''
clean_up() {
    [ -z "$server" ] || kill "$server" 2> /dev/null || true
    ip netns del "$space" 2> /dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
cd "$work"

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sed -n 's|^\([^ ]*/debian/\{0,1\}\)$|\1|p' | head -n 1)
mkdir -p lists/partial cache/archives/partial
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} trixie main" > sources
touch status
apt() {
    apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::SourceList="$work/sources" -o Dir::Etc::SourceParts=- \
        -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" "$@"
}
apt update
apt download u-boot-qemu=2025.01-3+deb13u1
dpkg-deb --extract ./u-boot-qemu_*.deb .

# Any file will do, as it is never started: the same was seen with the ipxe-arm64.efi of Debian 13.
mkdir -p tftp/pxelinux.cfg
head -c 100000 usr/lib/u-boot/qemu_arm64/u-boot.bin > tftp/program.efi
printf 'DEFAULT linux\nLABEL linux\n  KERNEL missing\n' > tftp/pxelinux.cfg/01-52-54-00-00-00-41
ip netns add "$space"
in_space() { ip netns exec "$space" "$@"; }
in_space ip link set lo up
in_space ip link add near type bridge
in_space ip tuntap add tap0 mode tap
in_space ip link set tap0 master near
in_space ip address add 192.0.2.1/24 dev near
in_space ip link set tap0 up
in_space ip link set near up
chmod 755 "$work"
in_space dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --interface=near --bind-interfaces --user=root \
    --dhcp-range=192.0.2.50,192.0.2.60 --dhcp-leasefile="$work/leases" --dhcp-boot=program.efi \
    --enable-tftp --tftp-root="$work/tftp" --log-facility="$work/log" &
server=$!

# Types a line at U-Boot's prompt and gives the console up to the next prompt.
cat > board.py <<'PYTHON'
import os, select, subprocess, sys, time

board = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
said = b""


def read_until(words, seconds):
    global said
    end = time.time() + seconds
    while words not in said and time.time() < end:
        if select.select([board.stdout], [], [], 0.2)[0]:
            said += os.read(board.stdout.fileno(), 4096)
    found, _, said = said.partition(words)
    return found


def type_line(line):
    board.stdin.write(line + b"\n")
    board.stdin.flush()


read_until(b"stop autoboot", 60)
type_line(b"")
read_until(b"=> ", 20)
type_line(sys.argv[1].encode())
print(read_until(b"\n=> ", 90).decode(errors="replace"))
board.kill()
PYTHON
board() { # LINE
    : > log
    in_space python3 board.py "$1" qemu-system-aarch64 -accel tcg -M virt -cpu cortex-a57 -m 512 -nographic -monitor none \
        -serial stdio -bios usr/lib/u-boot/qemu_arm64/u-boot.bin -netdev tap,id=n0,ifname=tap0,script=no,downscript=no \
        -device virtio-net-pci,netdev=n0,romfile=,mac=52:54:00:00:00:41 2> /dev/null | tr -d '\r' > console
}
error_of() { # METHOD: of the network's device
    grep -A1 -E "^ +[0-9a-f]+ +$1 +[a-z]+ +ethernet" console | grep -oE 'err=-[0-9]+' | head -n 1
}
sent() { sed -n "s|.*sent $work/tftp/\(.*\) to .*|\1|p" log | xargs -r -n 1 basename | paste -sd' '; }

board "bootflow scan -lae"
echo "default: $(error_of efi) of efi, $(error_of pxe) of pxe; the server sent $(sent)" | tee seen
board "setenv autoload no; dhcp && pxe get && pxe boot"
echo "by hand: the server sent $(sent)" | tee -a seen
diff seen - <<'SEEN'
default: err=-22 of efi, err=-524 of pxe; the server sent program.efi
by hand: the server sent 01-52-54-00-00-00-41
SEEN
