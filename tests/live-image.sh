#!/bin/bash
# A small live system of a newer suite, as that suite's own tools make it: kernel, initrd and a squashfs
# whose init says `the live system runs`. Made once a version and kept.
#
#   tests/live-image.sh live-boot trixie        Debian's live-boot in an initrd of initramfs-tools
#   tests/live-image.sh dracut sid              dracut's livenet with systemd-networkd
#
# Prints the folder, which is laid out as such a medium is, and has `versions`, a line a package.
set -euo pipefail

[ $# = 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
readonly kind=$1 suite=$2
here=$(dirname "$0")

case $kind in
    live-boot)
        packages="linux-image-amd64 initramfs-tools live-boot busybox squashfs-tools"
        kernel_at=live/vmlinuz initrd_at=live/initrd.img root_at=live/filesystem.squashfs
        ;;
    # The live system's modules are a package of their own up to dracut 110.
    dracut)
        packages="linux-image-amd64 dracut-core dracut-network dmsetup curl systemd-sysv squashfs-tools busybox"
        [ "$suite" != trixie ] || packages="$packages dracut-live"
        kernel_at=images/pxeboot/vmlinuz initrd_at=images/pxeboot/initrd.img root_at=LiveOS/squashfs.img
        ;;
    *) echo "tests/live-image.sh: $kind is no kind of live system: live-boot or dracut" >&2; exit 2 ;;
esac
# shellcheck disable=SC2086 # one word a package
root=$("$here/newer-root.sh" "$suite" $packages)
readonly folder=${BOOTWRIGHT_TEST_ROOTS:-/usr/local/lib/bootwright-tests/roots}/../live/$kind-$suite

mkdir -p "${folder%/*}"
exec 9> "$folder.lock"
flock 9

versions=$(chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' $packages systemd libc6 2> /dev/null | sort)
versions="$versions
made by $(cksum < "$0")"
if [ "$(cat "$folder/versions" 2> /dev/null)" != "$versions" ]; then
    rm -rf "$folder"
    mkdir -p "$folder/${kernel_at%/*}" "$folder/${root_at%/*}"
    kernel=$(ls -v "$root/boot" | grep '^vmlinuz-' | tail -n 1)
    # What the machine of the tests has, and what a live system is mounted with: an emulated processor
    # unpacks a whole distribution's modules for a minute.
    modules="virtio_pci virtio_net squashfs loop overlay"
    unshare --mount --fork --kill-child sh -c '
        mount --bind /dev "$0/dev"; mount -t proc proc "$0/proc"; mount -t sysfs -o ro sysfs "$0/sys"
        mount -t tmpfs tmpfs "$0/mnt"
        exec chroot "$0" sh -euc "$1" sh "$2" "$3"' "$root" '
        version=$1 modules=$2
        if [ '"$kind"' = dracut ]; then
            TMPDIR=/mnt dracut --quiet --force --no-hostonly --no-hostonly-cmdline --no-compress --kver "$version" \
                --add "systemd-networkd livenet dmsquash-live" --omit "network-manager lvm mdraid crypt plymouth" \
                --drivers "$modules" /mnt/initrd.img
        else
            cp -R /etc/initramfs-tools /mnt/conf
            printf "MODULES=list\nCOMPRESS=gzip\nCOMPRESSLEVEL=1\n" > /mnt/conf/conf.d/bootwright
            printf "%s\n" $modules > /mnt/conf/modules
            TMPDIR=/mnt mkinitramfs -d /mnt/conf -o /mnt/initrd.img "$version"
        fi
        mkdir -p /mnt/live/dev /mnt/live/proc /mnt/live/sys /mnt/live/run /mnt/live/tmp /mnt/live/etc /mnt/live/bin /mnt/live/usr/lib
        ln -s bin /mnt/live/sbin
        ldd /bin/busybox | grep -o "/[^ ]*" | while read -r library; do install -D "$library" "/mnt/live$library"; done
        cp /bin/busybox /mnt/live/bin/busybox
        ln -s busybox /mnt/live/bin/sh
        cp /usr/lib/os-release /mnt/live/usr/lib/os-release
        cp /usr/lib/os-release /mnt/live/etc/os-release
        printf "#!/bin/sh\necho \"the live system runs\"\nexec busybox sleep 100000\n" > /mnt/live/bin/init
        chmod 755 /mnt/live/bin/init
        mksquashfs /mnt/live /mnt/live.squashfs -quiet -no-progress > /dev/null
        rm -rf /boot/.bootwright
        mkdir /boot/.bootwright
        cp /mnt/initrd.img /mnt/live.squashfs "/boot/vmlinuz-$version" /boot/.bootwright/
        ' "${kernel#vmlinuz-}" "$modules" >&2
    mv "$root/boot/.bootwright/initrd.img" "$folder/$initrd_at"
    mv "$root/boot/.bootwright/live.squashfs" "$folder/$root_at"
    mv "$root/boot/.bootwright/$kernel" "$folder/$kernel_at"
    chmod 644 "$folder/$initrd_at"
    rmdir "$root/boot/.bootwright"
    printf '%s\n' "$versions" > "$folder/versions"
fi
realpath "$folder"
