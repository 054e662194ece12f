#!/bin/bash
# Machines of other instruction sets for the lab: QEMU for s390x and POWER, a kernel of Debian for each, and
# an initrd. All of it is unpacked from packages into a folder that is kept; nothing is installed.
#
#   tests/other-machines.sh          prints the folder
#
#   qemu-system-s390x, qemu-system-ppc64     beside the firmware of package qemu-system-data
#   s390x/linux, s390x/initrd                says its kernel's command line and stops
#   ppc64el/linux, ppc64el/initrd            Debian's installer
set -euo pipefail

readonly kept=${BOOTWRIGHT_TEST_MACHINES:-/usr/local/lib/bootwright-tests/machines}
[ ! -e "$kept/.made" ] || { echo "$kept"; exit; }
[ "$(id -u)" = 0 ] || { echo "tests/other-machines.sh: run it as root, it keeps its files in $kept" >&2; exit 1; }

mkdir -p "$(dirname "$kept")"
exec 9> "$(dirname "$kept")/.machines.lock"
flock 9
[ ! -e "$kept/.made" ] || { echo "$kept"; exit; }

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
mkdir -p "$kept/s390x" "$kept/ppc64el"

# apt for another instruction set, with lists and a cache of its own: the system's are left as they are.
foreign() { # ARCH VERB ...
    local arch=$1
    shift
    mkdir -p "$work/$arch/lists/partial" "$work/$arch/cache/archives/partial"
    touch "$work/$arch/status"
    "${@:1:1}" -qq -o Acquire::Retries=5 -o APT::Sandbox::User=root \
        -o "APT::Architecture=$arch" -o "APT::Architectures::=$arch" \
        -o "Dir::State::status=$work/$arch/status" -o "Dir::State::Lists=$work/$arch/lists" \
        -o "Dir::Cache=$work/$arch/cache" "${@:2}"
}

unpack() { # FOLDER, with one package downloaded into it: its content beside
    dpkg-deb --extract "$1"/*.deb "$1/content"
}

for program in qemu-system-s390x:qemu-system-s390x,qemu-system-misc qemu-system-ppc64:qemu-system-ppc; do
    name=${program%%:*}
    for package in $(tr ',' ' ' <<< "${program#*:}"); do
        mkdir -p "$work/$name"
        (cd "$work/$name" && apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=5 download "$package" > /dev/null 2>&1) || continue
        unpack "$work/$name"
        install -m755 "$work/$name/content/usr/bin/$name" "$kept/$name"
        break
    done
    [ -e "$kept/$name" ] || { echo "tests/other-machines.sh: no package of this release has $name" >&2; exit 1; }
done

# s390x: the newest kernel that can be had (a mirror in the middle of an update lists one before it has it), and
# busybox as all of an initrd.
foreign s390x apt-get update > /dev/null
from_s390x() { # PACKAGE
    mkdir -p "$work/$1"
    (cd "$work/$1" && foreign s390x apt-get download "$1" > /dev/null) && unpack "$work/$1"
}
kernel=
for package in $(foreign s390x apt-cache pkgnames linux-image- | grep -E '^linux-image-[0-9].*-s390x$' | sort -rV); do
    if from_s390x "$package"; then kernel=$package; break; fi
done
[ -n "$kernel" ] || { echo "tests/other-machines.sh: no kernel for s390x could be downloaded" >&2; exit 1; }
from_s390x busybox-static
install -m644 "$work/$kernel"/content/boot/vmlinuz-* "$kept/s390x/linux"
tree=$work/tree
mkdir -p "$tree/bin" "$tree/proc" "$tree/dev"
find "$work/busybox-static/content" -name busybox -type f -exec install -m755 {} "$tree/bin/busybox" \;
cat > "$tree/init" << 'END'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
echo "the initrd runs with: $(/bin/busybox cat /proc/cmdline)" > /dev/console
while :; do /bin/busybox sleep 60; done
END
chmod 755 "$tree/init"
(cd "$tree" && find . | busybox cpio -o -H newc 2> /dev/null | gzip -9) > "$kept/s390x/initrd"

# POWER: the installer's own two files, which come in a package for every machine.
installer=$(apt-cache pkgnames debian-installer- | grep -E '^debian-installer-[0-9]+-netboot-ppc64el$' | sort -V | tail -n 1)
mkdir -p "$work/installer"
(cd "$work/installer" && apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=5 download "$installer" > /dev/null)
unpack "$work/installer"
images=$(echo "$work"/installer/content/usr/lib/debian-installer/images/*/ppc64el/text/debian-installer/ppc64el)
install -m644 "$images/vmlinux" "$kept/ppc64el/linux"
install -m644 "$images/initrd.gz" "$kept/ppc64el/initrd"

touch "$kept/.made"
echo "$kept"
