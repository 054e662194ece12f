#!/bin/bash
# Runs a script beside a bootwright that is installed under a systemd of its own: Debian 13's, process 1 of
# namespaces that are joined to nothing, over a root of that release which stays as it is.
#
#   tests/under-systemd.sh BINARY SCRIPT
#
# Prints what the script prints. In there the unit, its user and the configuration are installed and nothing
# is started; `eno2` has 192.0.2.1 and its cable ends at `other`.
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")/.." && pwd)
readonly here
root=$("$here/tests/newer-root.sh" trixie systemd dbus iproute2)
work=$(mktemp -d)
trap 'rmdir "$work/root" 2> /dev/null || true; rm -r "$work"' EXIT
mkdir "$work/root" "$work/out"
cp "$1" "$work/out/bootwright"
cp "$2" "$work/out/script"

# How long the whole of it may take, in seconds.
readonly patience=170
timeout "$patience" unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup \
    bash -euc '
root=$1 work=$2 here=$3 m=$2/root
mount --make-rprivate /
mount -t tmpfs tmpfs "$m"
mkdir "$m/upper" "$m/work" "$m/merged"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$m/upper,workdir=$m/work" "$m/merged"
m=$m/merged
mount -t proc proc "$m/proc"
mount -t sysfs sysfs "$m/sys"
mount -t cgroup2 cgroup2 "$m/sys/fs/cgroup"
mount --rbind /dev "$m/dev"
mount -t tmpfs tmpfs "$m/run"
mount -t tmpfs tmpfs "$m/tmp"
mkdir -p "$m/out" "$m/etc/bootwright" "$m/srv/bootwright/images" "$m/usr/lib/ipxe"
mount --bind "$work/out" "$m/out"
install -m755 "$work/out/bootwright" "$m/usr/bin/bootwright"
cp "$here/systemd/bootwright.service" "$m/etc/systemd/system/"
cp "$here/systemd/bootwright.sysusers" "$m/usr/lib/sysusers.d/bootwright.conf"
cp -r "$here/config/." "$here/ipxe-scripts" "$m/etc/bootwright/"
sed -i -e "s|\"\.\./ipxe-scripts\"|\"ipxe-scripts\"|" -e "s|\"\.\./images\"|\"/srv/bootwright/images\"|" \
    "$m/etc/bootwright/bootwright.toml"
ip link set lo up
ip link add eno2 type veth peer name other
ip addr add 192.0.2.1/24 dev eno2
ip link set eno2 up
ip link set other up
printf "%s\n" "[Unit]" "DefaultDependencies=no" "Wants=systemd-journald.service dbus.socket" \
    "After=systemd-journald.service dbus.socket" "SuccessAction=exit-force" "FailureAction=exit-force" \
    "[Service]" "Type=oneshot" "ExecStartPre=systemd-sysusers" "ExecStart=/bin/bash /out/script" \
    "StandardOutput=file:/out/said" "StandardError=file:/out/said" "TimeoutStartSec=150" \
    > "$m/etc/systemd/system/try.service"
exec chroot "$m" env -i container=other PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --unit=try.service \
    --log-target=console > "$work/out/console" 2>&1 < /dev/null
' sh "$root" "$work" "$here" || true
[ -e "$work/out/said" ] || { cat "$work/out/console" >&2; exit 1; }
cat "$work/out/said"
