#!/bin/sh
# Installs what the demo and the tests use from Debian 12's own packages. Nothing that comes along
# is started, and what is there already is left as it is.
set -eu

# iproute2: namespaces and bridges · qemu, ovmf, seabios, ipxe-qemu: machines · ipxe: loaders ·
# the installer's netboot kernel · DHCP, TFTP and HTTP clients · dnsmasq-base: the other DHCP server
# on a guest's network · isc-dhcp-relay · bootpc, klibc-utils: BOOTP as before DHCP · xorriso, genisoimage:
# ISOs to import · systemd: systemd-networkd, and
# systemd-analyze for the unit's exposure · nginx-light, openssl, gpg, gpg-agent, gpgv, gpgconf: a server
# of images, its certificate, signatures · strace: kills at every step · pxelinux,
# syslinux-common: a loader beside iPXE · gcc: Rust's linker
packages="iproute2 procps qemu-system-x86 ovmf seabios ipxe ipxe-qemu debian-installer-12-netboot-amd64
          xorriso genisoimage isc-dhcp-client udhcpc busybox dhcpcd-base bootpc klibc-utils dnsmasq-base isc-dhcp-relay tftp-hpa tftpd-hpa atftp curl systemd
          nginx-light openssl gpg gpg-agent gpgv gpgconf strace pxelinux syslinux-common gcc libc6-dev"

# Single files of packages that are not installed: Debian lets only one relay be, and the tests go through
# two; shim and signed GRUB would see to how this machine boots. PACKAGE:FILE.
unpacked="dhcp-helper:usr/sbin/dhcp-helper shim-signed:usr/lib/shim/shimx64.efi.signed
          grub-efi-amd64-signed:usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"
beside=/usr/local/lib/bootwright-tests

# Other programs in their place, such as the peers of the benchmarks.
[ $# = 0 ] || { packages="$*"; unpacked=""; }

missing="" missing_beside=""
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
for file in $unpacked; do
    [ -e "$beside/${file##*/}" ] || missing_beside="$missing_beside $file"
done
[ -n "$missing$missing_beside" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "bootwright: these packages are missing, and installing them needs root:$missing$missing_beside" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive

# The machine's own apt may be at work: its lock is waited for. A mirror that fails is asked again.
debian() {
    apt-get -qq -o DPkg::Lock::Timeout=600 -o Acquire::Retries=5 "$@"
}

# Lists have a lock that apt does not wait for, and it takes old lists for new ones where a mirror fails.
update() {
    for pause in 5 10 20 40; do
        debian -o APT::Update::Error-Mode=any update && return
        sleep "$pause"
    done
    debian update
}

update

for file in $missing_beside; do
    package=${file%%:*}
    echo "unpacking: $package"
    folder=$(mktemp -d)
    (cd "$folder" && debian download -o APT::Sandbox::User=root "$package" && dpkg-deb --extract ./*.deb content)
    install -Dm755 "$folder/content/${file#*:}" "$beside/${file##*/}"
    rm -r "$folder"
done
[ -n "$missing" ] || exit 0

# Services that come with a package would listen on this machine's networks: Debian asks this file
# whether to start them. One that is there already has its reasons and stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi

echo "installing:$missing"
# shellcheck disable=SC2086 # one word a package
debian install -y --no-install-recommends $missing > /dev/null
