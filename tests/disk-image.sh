#!/bin/bash
# A disk image of Debian as its own tools make it, for machines of the tests: it boots with BIOS and UEFI, has
# cloud-init, which looks at the disk alone (NoCloud), and a unit that tells a server how it came up. Made once a
# version and kept; needs no loop device.
#
#   tests/disk-image.sh trixie
#
# Prints the folder, which has `disk.raw.zst`, and `bytes` and `sha256` of what is in it.
set -euo pipefail

[ $# = 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
readonly wanted=$1
readonly out=${BOOTWRIGHT_TEST_ROOTS:-/usr/local/lib/bootwright-tests/roots}/../disk/$wanted
# shellcheck source=tests/roots.sh
. "$(dirname "$0")/roots.sh"
mkdir -p "${out%/*}"
exec 9> "$out.lock"
flock 9

made_by=$(cksum < "$0")
if [ "$(cat "$out/made-by" 2> /dev/null)" = "$made_by" ]; then
    realpath "$out"
    exit
fi
for tool in mmdebstrap mke2fs mformat mcopy sfdisk zstd; do
    PATH=$PATH:/sbin:/usr/sbin command -v "$tool" > /dev/null \
        || { echo "tests/disk-image.sh: $tool is not here (mmdebstrap e2fsprogs mtools fdisk zstd)" >&2; exit 1; }
done
PATH=$PATH:/sbin:/usr/sbin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=linux-image-cloud-amd64,systemd-sysv,udev,dbus,cloud-init,initramfs-tools,grub-pc-bin,grub-efi-amd64-bin,openssh-server
packages=$packages,netplan.io,systemd-resolved,iproute2,curl,cloud-guest-utils,e2fsprogs,fdisk,ca-certificates
# What the machine of the tests has: an emulated processor unpacks every module there is for a minute.
make_root "$wanted" "$work/root" "$packages" --mode=root --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"; printf "MODULES=list\nCOMPRESS=zstd\n" > "$1/etc/initramfs-tools/conf.d/tests"' \
    --essential-hook='printf "%s\n" virtio_pci virtio_blk virtio_net ext4 > "$1/etc/initramfs-tools/modules"' >&2
root=$work/root

# cloud-init waits for no metadata server, and runs what makes a host its own.
cat > "$root/etc/cloud/cloud.cfg.d/99_tests.cfg" <<'CFG'
datasource_list: [NoCloud, None]
apt: { preserve_sources_list: true }
cloud_init_modules: [seed_random, growpart, resizefs, set_hostname, update_hostname, users_groups, ssh]
cloud_config_modules: []
cloud_final_modules: []
CFG
cat > "$root/usr/local/bin/tells" <<'SH'
#!/bin/sh
# Tells the server of the tests, by whatever router it has, how this system came up.
server=$(sed 's/.*lab.tells=\([^ ]*\).*/\1/' /etc/lab-tells)
keys=$(cat /home/*/.ssh/authorized_keys 2> /dev/null | grep -v '^#' | head -n 1)
address=$(ip -4 -o addr show scope global | sed -n 's/.* inet \([0-9./]*\).*/\1/p' | head -n 1)
size=$(df -k --output=size / | tail -n 1 | tr -d ' ')
for try in 1 2 3 4 5 6 7 8 9 10; do
    curl -fsS -G --max-time 10 --data-urlencode "name=$(hostname)" --data-urlencode "key=$keys" \
        --data-urlencode "address=$address" --data-urlencode "kilobytes=$size" "http://$server/tells" && break
    sleep 2
done
echo "tests: $(hostname) $address told $server"
SH
echo 'lab.tells=192.0.2.1:8099' > "$root/etc/lab-tells"
chmod 755 "$root/usr/local/bin/tells"
cat > "$root/etc/systemd/system/tells.service" <<'UNIT'
[Unit]
Description=Tells the server of the tests that this system came up
Wants=network-online.target
After=network-online.target cloud-init-network.service cloud-init.service
[Service]
Type=oneshot
ExecStart=/usr/local/bin/tells
StandardOutput=journal+console
[Install]
WantedBy=multi-user.target
UNIT
chroot "$root" systemctl --quiet enable tells.service systemd-networkd.service systemd-resolved.service >&2
# An emulated processor has no time for what no test looks at.
chroot "$root" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer getty.target cloud-config.service cloud-final.service systemd-binfmt.service \
    systemd-networkd-wait-online.service systemd-pcrmachine.service systemd-tpm2-setup.service ldconfig.service \
    systemd-hwdb-update.service systemd-journal-catalog-update.service >&2
: > "$root/etc/machine-id"
rm -f "$root"/etc/ssh/ssh_host_* "$root"/var/cache/apt/*.bin
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/archives/*
printf 'LABEL=root / ext4 errors=remount-ro 0 1\n' > "$root/etc/fstab"
kernel=$(ls "$root/boot" | grep '^vmlinuz-' | sort -V | tail -n 1)
ln -sf "$kernel" "$root/boot/vmlinuz"
ln -sf "initrd.img-${kernel#vmlinuz-}" "$root/boot/initrd.img"

# --- loaders: GRUB, with the same words for either firmware
cat > "$work/grub.cfg" <<'CFG'
search --no-floppy --set=root --label root
linux /boot/vmlinuz root=LABEL=root ro console=ttyS0,115200 net.ifnames=0
initrd /boot/initrd.img
boot
CFG
modules="part_gpt part_msdos ext2 fat search search_label linux normal boot configfile"
image() {
    local format=$1 file=$2
    shift 2
    chroot "$root" grub-mkimage --format="$format" --directory="/usr/lib/grub/$format" --output=/loader --prefix=/boot/grub \
        --config=/grub.cfg $modules "$@" >&2
    mv "$root/loader" "$file"
}
cp "$work/grub.cfg" "$root/grub.cfg"
image x86_64-efi "$work/BOOTX64.EFI"
image i386-pc "$work/core.img" biosdisk
cp "$root/usr/lib/grub/i386-pc/boot.img" "$work/boot.img"
rm "$root/grub.cfg"

# --- partitions: 1 MiB for GRUB, 32 MiB for firmware, and the rest
mib=1048576
used=$(du -sm "$root" | cut -f1)
size=$((used + used / 4 + 128))
# It says on standard output that it makes the file, quiet or not.
mke2fs -q -t ext4 -L root -d "$root" -E root_owner=0:0 "$work/root.ext4" "${size}M" >&2
truncate -s 32M "$work/esp"
mformat -i "$work/esp" -v ESP :: >&2
mmd -i "$work/esp" ::/EFI ::/EFI/BOOT
mcopy -i "$work/esp" "$work/BOOTX64.EFI" ::/EFI/BOOT/BOOTX64.EFI
disk=$work/disk.raw
truncate -s "$((size + 36))M" "$disk"
sfdisk --quiet "$disk" <<'TABLE' >&2
label: gpt
start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649
start=4096, size=65536, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
start=69632, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4
TABLE
put() { dd if="$1" of="$disk" bs=512 seek="$2" conv=notrunc,sparse status=none; }
# What grub-bios-setup writes: where the core is, into the boot sector and into the core's own list of blocks.
little_endian() { local n=$1 i; for i in 0 1 2 3 4 5 6 7; do printf "\\x$(printf %02x $(((n >> (8 * i)) & 255)))"; done; }
little_endian 2048 | dd of="$work/boot.img" bs=1 seek=$((0x5c)) conv=notrunc status=none
# A drive number of the disk that the BIOS started from: no jump around that.
printf '\x90\x90' | dd of="$work/boot.img" bs=1 seek=$((0x66)) conv=notrunc status=none
little_endian 2049 | dd of="$work/core.img" bs=1 seek=$((0x1f4)) conv=notrunc status=none
dd if="$work/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
put "$work/core.img" 2048
put "$work/esp" 4096
put "$work/root.ext4" 69632

rm -rf "$out"
mkdir "$out"
stat -c %s "$disk" > "$out/bytes"
sha256sum "$disk" | cut -d' ' -f1 > "$out/sha256"
zstd --quiet -3 -T0 "$disk" -o "$out/disk.raw.zst"
echo "$made_by" > "$out/made-by"
realpath "$out"
