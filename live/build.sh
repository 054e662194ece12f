#!/bin/bash
# The live system that writes disk images and repairs machines, as an image that hosts boot: kernel and modules,
# busybox and dropbear from the Debian packages of this machine's own release, and the program that writes. Nothing
# is installed: packages are downloaded, checked by apt and unpacked into a folder that goes away. No root.
#
#   live/build.sh PROGRAM IMAGE     such as target/release/bootwright-deploy images/bootwright-live
#
# FIRMWARE="firmware-bnx2x firmware-misc-nonfree" takes the firmware of these packages in, for NICs and controllers
# that load some. Built twice from the same packages it is the same, byte for byte.
set -euo pipefail
[ $# = 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
umask 022
export LC_ALL=C TZ=UTC
readonly program=$(realpath "$1") image=$(realpath -m "$2") here=$(dirname "$(realpath "$0")")
refuse() { echo "live/build.sh: $*" >&2; exit 1; }

[ -x "$program" ] || refuse "there is no program $1; make deployer builds it"
for tool in apt-get dpkg-deb objdump readelf strip; do
    command -v "$tool" > /dev/null || refuse "$tool is not here: a Debian system with binutils builds this"
done
readonly arch=$(dpkg --print-architecture)
work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT
mkdir "$work/packages" "$work/unpacked" "$work/tools" "$work/root"

# The first of several paths that is there.
first_of() {
    local path
    for path in "$@"; do
        [ ! -e "$path" ] || { echo "$path"; return; }
    done
}

# Downloads packages and unpacks them into a folder; says which versions they are of.
unpack() {
    local folder=$1 one
    shift
    for one in "$@"; do
        (cd "$work/packages" && rm -f ./*.deb && apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=5 \
            download "$one" > "$work/apt" 2>&1) || refuse "the package $one can't be had: $(tail -n 1 "$work/apt")"
        dpkg-deb --extract "$work/packages/"*.deb "$folder"
        dpkg-deb --field "$work/packages/"*.deb Package Version | sed 's/^[^:]*: //' | paste -sd' ' >> "$work/versions"
    done
}

# A tool of this machine, or of its package where the machine has none.
tool() {
    command -v "$1" || {
        [ -e "$work/tools/usr/bin/$1" ] || [ -e "$work/tools/bin/$1" ] || (: > "$work/kept"; cp "$work/versions" "$work/kept"
            unpack "$work/tools" "$2"; cp "$work/kept" "$work/versions")
        first_of "$work/tools/usr/bin/$1" "$work/tools/bin/$1"
    }
}

: > "$work/versions"
readonly cpio=$(tool cpio cpio) zstd=$(tool zstd zstd) xz=$(tool xz xz-utils)

# The newest kernel is what the release's meta package depends on.
kernel=$(apt-cache depends --important "linux-image-$arch" 2> /dev/null \
    | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
[ -n "$kernel" ] || refuse "no package linux-image-$arch names a kernel: is this Debian, and was apt-get update run?"
# Libraries have other names in other releases: apt says which ones dropbear needs.
libraries=$(apt-cache depends --important --recurse dropbear-bin 2> /dev/null | grep '^[a-z0-9]' \
    | grep -vE '^(dropbear-bin|gcc-.*-base|debconf.*)$' | sort -u)
# shellcheck disable=SC2086 # one word a package
unpack "$work/unpacked" "$kernel" busybox-static dropbear-bin $libraries ${FIRMWARE-}
readonly version=${kernel#linux-image-} from=$work/unpacked root=$work/root
modules=$(first_of "$from/usr/lib/modules/$version" "$from/lib/modules/$version")
[ -n "$modules" ] || refuse "the package $kernel has no modules"

# --- the modules that are wanted, with those they need
find "$modules" -name '*.ko.xz' -exec "$xz" --decompress {} +
readonly busybox=$(first_of "$from/usr/bin/busybox" "$from/bin/busybox")
# Debian 13 has /usr/lib alone, and busybox looks in /lib.
[ -e "$from/lib" ] || ln -s usr/lib "$from/lib"
"$busybox" depmod -b "$from" "$version"
sort -o "$modules/modules.dep" "$modules/modules.dep"
# Names that this kernel lacks, or has built in, are passed over.
sed 's/#.*//' "$here/modules" | tr -s ' \t' '\n' | grep . | sort -u > "$work/wanted"
awk -v wanted="$work/wanted" '
    function short(path) { sub(/.*\//, "", path); sub(/\.ko$/, "", path); gsub(/-/, "_", path); return path }
    function take(path,   i, count, needed) {
        if (path in taken) return
        taken[path] = 1
        count = split(needs[path], needed, " ")
        for (i = 1; i <= count; i++) take(needed[i])
    }
    { path = $1; sub(/:$/, "", path); place[short(path)] = path; $1 = ""; needs[path] = $0 }
    END {
        while ((getline name < wanted) > 0) { gsub(/-/, "_", name); if (name in place) take(place[name]) }
        for (path in taken) print path
    }' "$modules/modules.dep" | sort > "$work/taken"
[ "$(wc -l < "$work/taken")" -ge 50 ] || refuse "only $(wc -l < "$work/taken") modules were found in $kernel"
(cd "$modules" && "$cpio" --quiet -pdm "$root/lib/modules/$version" < "$work/taken")
cp "$modules/modules.builtin" "$modules/modules.order" "$root/lib/modules/$version/"
"$busybox" depmod -b "$root" "$version"
for table in modules.dep modules.alias modules.symbols; do
    [ ! -e "$root/lib/modules/$version/$table" ] || sort -u -o "$root/lib/modules/$version/$table"{,}
done

# --- programs
mkdir -p "$root"/{bin,sbin,etc,proc,sys,dev,run,tmp,mnt,var/log,root/.ssh,usr/bin,usr/sbin}
chmod 700 "$root/root" "$root/root/.ssh"
cp "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list | sort); do
    [ "$applet" = busybox ] || [ "$applet" = init ] || ln -s busybox "$root/bin/$applet"
done
# Without the lines of its source, which nobody reads there.
strip -o "$root/bin/bootwright-deploy" "$program"
cp "$(first_of "$from/usr/sbin/dropbear" "$from/usr/bin/dropbear")" "$root/bin/dropbear"
cp "$(first_of "$from/usr/bin/dropbearkey" "$from/usr/lib/dropbear/dropbearkey")" "$root/bin/dropbearkey"

# The libraries of a program, and theirs.
libraries_of() {
    local name found
    for name in $(objdump -p "$1" 2> /dev/null | sed -n 's/^ *NEEDED *//p') $(interpreter_of "$1"); do
        name=${name##*/}
        [ ! -e "$root/lib/$name" ] || continue
        found=$(find "$from" -name "$name" | sort | head -n 1)
        [ -n "$found" ] || refuse "${1##*/} needs $name, and none of the packages has it"
        cp -L "$(realpath "$found")" "$root/lib/$name"
        libraries_of "$root/lib/$name"
    done
}
interpreter_of() { readelf -l "$1" 2> /dev/null | sed -n 's/.*interpreter: \(.*\)\]/\1/p'; }
for one in bootwright-deploy dropbear dropbearkey; do
    libraries_of "$root/bin/$one"
    loader=$(interpreter_of "$root/bin/$one")
    if [ -n "$loader" ] && [ ! -e "$root$loader" ] && [ ! -L "$root$loader" ]; then
        mkdir -p "$root${loader%/*}"
        ln -s "/lib/${loader##*/}" "$root$loader"
    fi
done
if [ -n "${FIRMWARE-}" ]; then
    firmware=$(first_of "$from/usr/lib/firmware" "$from/lib/firmware")
    [ -z "$firmware" ] || cp -RL "$firmware" "$root/lib/firmware"
fi

cp "$here/init" "$root/init"
cp "$here/dhcp" "$root/etc/dhcp"
cp "$here/lib" "$root/etc/lib"
chmod 755 "$root/init" "$root/etc/dhcp" "$root/bin/"*
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'root:*:19000:0:99999:7:::' > "$root/etc/shadow"
echo 'root:x:0:' > "$root/etc/group"
echo /bin/sh > "$root/etc/shells"
echo '127.0.0.1 localhost' > "$root/etc/hosts"
printf 'passwd: files\nshadow: files\nhosts: files dns\n' > "$root/etc/nsswitch.conf"
sort "$work/versions" > "$root/etc/packages"

# --- the archive: one order, one time, one owner
find "$root" -exec touch --no-dereference --date=@0 {} +
mkdir -p "$image"
(cd "$root" && find . -mindepth 1 -print0 | sort -z \
    | "$cpio" --quiet --null --reproducible --owner=0:0 --format=newc --create) > "$work/initrd"
ZSTD_CLEVEL=${ZSTD_CLEVEL:-19} "$zstd" --quiet --force --threads=1 "$work/initrd" -o "$work/initrd.zst"
cp "$from/boot/vmlinuz-$version" "$work/vmlinuz"

# The folder is an image at every moment: the description comes last, and names files that are there.
sum() { sha256sum "$1" | cut -d' ' -f1; }
for file in vmlinuz initrd.zst; do
    install -m644 "$work/$file" "$image/.$file.new"
    mv "$image/.$file.new" "$image/$file"
done
case $arch in amd64) cpu=x86_64 ;; i386) cpu=x86 ;; ppc64el) cpu=ppc64 ;; armhf) cpu=arm32 ;; *) cpu=$arch ;; esac
cat > "$image/.image.toml.new" <<TOML
# Bootwright's live system, made by \`make deployer\` of these packages:
$(sed 's/^/#   /' "$root/etc/packages")
arch    = "$cpu"
kernel  = { file = "vmlinuz", sha256 = "$(sum "$work/vmlinuz")" }
initrds = [{ file = "initrd.zst", sha256 = "$(sum "$work/initrd.zst")" }]
TOML
mv "$image/.image.toml.new" "$image/image.toml"
echo "the live system is in $image: Linux $version, $(wc -l < "$work/taken") modules, an initrd of $(du -h "$work/initrd.zst" | cut -f1)"
