#!/bin/sh
# Installs what the demo, the tests or the benchmarks use, from the packages of this machine's own release:
# Debian 12 or 13, or an Ubuntu of today. No service that comes along is started, now or at the next boot:
# web, TFTP and DHCP servers would listen on this machine's networks. What was here before stays as it was.
#
#   tests/install-packages.sh demo           what `make demo` needs
#   tests/install-packages.sh tests          that and what `make test` needs
#   tests/install-packages.sh PACKAGE ...    these
set -eu

# iproute2: namespaces and bridges · qemu, ovmf, seabios: machines · ipxe, ipxe-qemu: loaders · the
# installer's kernel, of the newest Debian that this release has · gcc: Rust's linker
demo="iproute2 qemu-system-x86 ovmf seabios ipxe ipxe-qemu installer gcc libc6-dev"

# DHCP, TFTP and HTTP clients · e2fsprogs: a disk that rots · dnsmasq-base: the other DHCP server on a guest's network · isc-dhcp-relay ·
# nftables, iptables: firewalls that the doctor reads · bootpc, klibc-utils: BOOTP as before DHCP · xorriso, genisoimage: ISOs to import · systemd: systemd-networkd, and
# systemd-analyze for the unit's exposure · nginx, openssl, gpg and its parts: a server of images, its
# certificate, signatures · strace: kills at every step · faketime: a clock that is set · slowhttptest:
# slow clients · pxelinux, syslinux-common: a loader beside iPXE · mmdebstrap: roots of other
# releases (newer-root.sh) · fdisk, zstd, gzip, mtools, mount: disks that the deployer wrote, as others read them ·
# python3-venv: pykickstart's validator, from PyPI (pykickstart.sh) · binutils, cpio, xz-utils: the live system is
# made · openssh-client: whoever looks at a machine in it · tshark: captures as others read them · tmux: a terminal for the board
tests="$demo procps xorriso genisoimage isc-dhcp-client udhcpc busybox dhcpcd-base bootpc klibc-utils dnsmasq-base
       isc-dhcp-relay nftables iptables tftp-hpa tftpd-hpa atftp curl wget e2fsprogs systemd nginx-light|nginx openssl gpg gpg-agent gpgv gpgconf
       strace faketime slowhttptest pxelinux syslinux-common mmdebstrap
       fdisk zstd gzip mtools mount python3-venv binutils cpio xz-utils openssh-client tshark tmux"

# Single files of packages that are not installed: Debian lets only one relay be, and the tests go through
# two; shim and signed GRUB would see to how this machine boots. PACKAGE:FILE.
tests_beside="dhcp-helper:usr/sbin/dhcp-helper shim-signed:usr/lib/shim/shimx64.efi.signed
              grub-efi-amd64-signed:usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"
beside=/usr/local/lib/bootwright-tests

wanted_beside=""
case ${1-} in
    '') sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    demo) wanted=$demo ;;
    tests) wanted=$tests; wanted_beside=$tests_beside ;;
    *) wanted=$* ;;
esac

export DEBIAN_FRONTEND=noninteractive

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null || true)" = installed ]
}

# Whether this release has the package. What no list has yet counts as had: apt says more than we could.
offered() {
    [ -n "$(apt-cache policy "$1" 2> /dev/null | sed -n 's/^  Candidate: //p' | grep -vxF '(none)')" ]
}

# Debian's installer comes as one package a release; a newer release may have an older one's beside it.
newest_installer() {
    { apt-cache --names-only search '^debian-installer-[0-9]+-netboot-amd64$' 2> /dev/null
      dpkg-query -W -f '${Package}\n' 'debian-installer-*-netboot-amd64' 2> /dev/null; } \
        | awk '{print $1}' | sort -V | tail -n 1
}

# One word of a list as the package to install here; nothing where this release has none of its choices.
resolved() {
    case $1 in
        # Ubuntu has no such package: there it is downloaded, and these keys tell whether it is Debian's.
        installer) newest=$(newest_installer); echo "${newest:-$(resolved debian-archive-keyring)}" ;;
        *'|'*)
            for choice in $(echo "$1" | tr '|' ' '); do
                if installed "$choice" || offered "$choice"; then echo "$choice"; return; fi
            done ;;
        *) if installed "$1" || offered "$1"; then echo "$1"; fi ;;
    esac
}

# Fills `missing`, `missing_beside` and `absent` from what is wanted.
look() {
    missing="" missing_beside="" absent=""
    for word in $wanted; do
        package=$(resolved "$word")
        if [ -z "$package" ]; then
            absent="$absent $word"
        elif ! installed "$package"; then
            missing="$missing $package"
        fi
    done
    for file in $wanted_beside; do
        [ -e "$beside/${file##*/}" ] || missing_beside="$missing_beside $file"
    done
}

say_absent() {
    [ -z "$absent" ] || echo "this release has no package for:$absent (what uses it will say so)" >&2
}

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

unpack() {
    for file in $missing_beside; do
        package=${file%%:*}
        echo "unpacking: $package"
        folder=$(mktemp -d)
        (cd "$folder" && debian download -o APT::Sandbox::User=root "$package" && dpkg-deb --extract ./*.deb content)
        install -Dm755 "$folder/content/${file#*:}" "$beside/${file##*/}"
        rm -r "$folder"
    done
}

# What is started at boot: systemd's links, and those of init scripts, each as KIND NAME.
started_at_boot() {
    for link in /etc/systemd/system/*.wants/* /etc/systemd/system/*.requires/*; do
        case $link in *.service | *.socket | *.timer | *.path) [ ! -L "$link" ] || echo "unit ${link##*/}" ;; esac
    done
    for link in /etc/rc[2-5].d/S[0-9][0-9]*; do
        [ ! -e "$link" ] || echo "script ${link##*/S??}"
    done
}

# The services that came with the packages stay off; those of systemd itself, where it had to come, are no
# servers and stay as Debian has them. Scripts go first: switching one off does the same to its unit.
switch_off_what_came() {
    newly_started > "$notes/came"
    while read -r kind name; do
        [ "$kind" = script ] && update-rc.d "$name" disable < /dev/null > /dev/null 2>&1
        case $name in *.service | *.socket | *.timer | *.path) unit=$name ;; *) unit=$name.service ;; esac
        if [ -d /run/systemd/system ]; then systemctl --quiet stop "$unit" < /dev/null > /dev/null 2>&1; fi
        if [ "$kind" = unit ]; then
            systemctl --quiet disable "$unit" < /dev/null > /dev/null 2>&1 \
                || rm -f /etc/systemd/system/*.wants/"$unit" /etc/systemd/system/*.requires/"$unit"
        fi
    done < "$notes/came"
    stays=$(newly_started | cut -d' ' -f2 | sort -u)
    for name in $(cut -d' ' -f2 "$notes/came" | sed 's/\.service$//' | sort -u); do
        echo "switched off: $name, which came with the packages"
    done
    [ -z "$stays" ] || echo "bootwright: these came with the packages and start at the next boot:" $stays >&2
}

# What is started at boot now and was not before, but for what no machine is without.
newly_started() {
    started_at_boot | sort -u | comm -13 "$notes/before" - | while read -r kind name; do
        owner=$(dpkg-query -S "*/systemd/system/$name" 2> /dev/null | sed 's/[:,].*//' | head -n 1)
        case $owner in systemd | systemd-* | dbus | dbus-* | udev | util-linux) continue ;; esac
        case $name in dbus) continue ;; esac
        echo "$kind $name"
    done | sort
}

finish() {
    [ ! -e "$notes/policy-is-ours" ] || rm -f "$policy"
    [ ! -e "$notes/before" ] || switch_off_what_came || true
    rm -rf "$notes"
}

look
# A release that lacks a package lacks it for good; a machine without lists knows of none.
if [ -z "$missing$missing_beside" ] && { [ -z "$absent" ] || ls /var/lib/apt/lists/*Packages* > /dev/null 2>&1; }; then
    say_absent
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "bootwright: these packages are missing, and installing them needs root:$missing$missing_beside$absent" >&2
    exit 1
fi

update
look
say_absent
unpack
[ -n "$missing" ] || exit 0

notes=$(mktemp -d)
trap finish EXIT
trap 'exit 130' INT TERM

# Packages ask this file whether to start their services. One that is there already has its reasons and stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    touch "$notes/policy-is-ours"
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
started_at_boot | sort -u > "$notes/before"

echo "installing:$missing"
# shellcheck disable=SC2086 # one word a package
debian install -y --no-install-recommends $missing > /dev/null
