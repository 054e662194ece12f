#!/bin/bash
# What a new user does, in a fresh root of a release: make demo, make install, make test. Prints the time of
# each, and fails when one does, or when one leaves a service behind.
#
#   tests/fresh-root.sh SUITE [demo] [install] [test] [shell]     e.g.  tests/fresh-root.sh trixie demo
#
# SUITE is bookworm (Debian 12), trixie (13), noble (Ubuntu 24.04), resolute (26.04) or any other of Debian.
# Without steps: demo, install and test. The root has what such a machine has, make and the certificates; the
# checkout is copied into it, and Rust is this machine's own toolchain, seen but not written to. It shares
# the network, and nothing else. KEEP=1 keeps the root, and a kept one is used again as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/roots.sh

[ $# -ge 1 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
suite=$1
shift
[ $# -gt 0 ] || set -- demo install test
root=${BOOTWRIGHT_FRESH_ROOTS:-/var/tmp/bootwright-fresh}/$suite

[ "$(id -u)" = 0 ] || { echo "tests/fresh-root.sh: a root is made by root: sudo $0 $suite $*" >&2; exit 1; }

# Rust of whoever calls, by sudo too.
owner_home=$(getent passwd "${SUDO_USER:-$(id -un)}" | cut -d: -f6)
PATH=$PATH:$owner_home/.cargo/bin
toolchain=$(RUSTUP_HOME=${RUSTUP_HOME:-$owner_home/.rustup} rustc --print sysroot) \
    || { echo "tests/fresh-root.sh: rustc is not here: https://rustup.rs" >&2; exit 1; }
readonly toolchain
readonly registry=${CARGO_HOME:-$owner_home/.cargo}/registry

if [ ! -e "$root/.made" ]; then
    echo "== a fresh root of $suite: $root"
    mkdir -p "$(dirname "$root")"
    make_root "$suite" "$root" systemd-sysv,ca-certificates,make
    touch "$root/.made"
fi
mkdir -p "$root/root/bootwright" "$root/opt/rust" "$root/root/.cargo/registry" "$root/work"
# What a kept root built and fetched stays; a file that is no more in the checkout does not.
find "$root/root/bootwright" -mindepth 1 -maxdepth 1 ! -name target ! -name images -exec rm -r {} +
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- --create --file=- \
    | tar --directory="$root/root/bootwright" --extract --file=-

# Runs in the root, in namespaces of its own for processes and mounts: whatever is left running ends with it.
inside() { # ROOT TOOLCHAIN REGISTRY STEP...
    set -euo pipefail
    local root=$1 toolchain=$2 registry=$3
    shift 3
    # What makes network namespaces changes how / is mounted, so it must be a mount.
    mount --bind "$root" "$root"
    dress_root "$root"
    mount -t tmpfs -o mode=0755 tmpfs "$root/run"
    mount --bind "$toolchain" "$root/opt/rust"
    mount -o remount,bind,ro "$root/opt/rust"
    # Crates that are here need not come again; what comes besides stays in the root.
    if [ -d "$registry" ]; then
        mkdir -p "$root/work/upper" "$root/work/work"
        mount -t overlay -o "lowerdir=$registry,upperdir=$root/work/upper,workdir=$root/work/work" overlay "$root/root/.cargo/registry"
    fi
    exec chroot "$root" env -i HOME=/root PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        LANG=C.UTF-8 TERM="${TERM:-dumb}" bash -c 'cd /root/bootwright && source tests/fresh-root-steps.sh' steps "$@"
}

export -f dress_root inside
status=0
unshare --mount --pid --fork --kill-child bash -c 'inside "$@"' inside "$root" "$toolchain" "$registry" "$@" || status=$?
[ -n "${KEEP-}" ] || rm -r --one-file-system "$root"
exit $status
