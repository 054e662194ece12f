#!/bin/bash
# A root of another Debian suite, for what this machine's own release does not have: newer clients to
# run in a chroot, newer loaders and firmware to read from it. Made once and kept; packages that a later
# call names are added to it. Nothing of it touches the system.
#
#   tests/newer-root.sh SUITE [PACKAGE ...]     e.g.  tests/newer-root.sh trixie dhcpcd-base udhcpc
#
# Prints the root's path. The mirror is the one of this machine's own sources.
set -euo pipefail
source "$(dirname "$0")/roots.sh"

[ $# -ge 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
suite=$1
shift
readonly roots=${BOOTWRIGHT_TEST_ROOTS:-/usr/local/lib/bootwright-tests/roots}
root=$roots/$suite

[ "$(id -u)" = 0 ] || { echo "tests/newer-root.sh: a root is made by root: sudo $0 $suite $*" >&2; exit 1; }
mkdir -p "$roots"
# Two that want the same root wait for each other.
exec 9> "$roots/.$suite.lock"
flock 9

if [ ! -e "$root/.made" ]; then
    make_root "$suite" "$root" "" \
        --customize-hook='printf "#!/bin/sh\nexit 101\n" > "$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"'
    touch "$root/.made"
fi

missing=()
for package in "$@"; do
    [ -e "$root/var/lib/dpkg/info/$package.list" ] || [ -n "$(ls "$root/var/lib/dpkg/info/$package":*.list 2> /dev/null)" ] \
        || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    # Services ask the policy of the root, which says no; scripts of packages find what a system has.
    export -f dress_root
    unshare --mount --fork --kill-child bash -c '
        set -e
        dress_root "$0"
        exec chroot "$0" env DEBIAN_FRONTEND=noninteractive sh -c "
            apt-get -qq -o Acquire::Retries=5 update &&
            apt-get -qq -o Acquire::Retries=5 install -y --no-install-recommends \"\$@\" > /tmp/install.log 2>&1 ||
            { tail -n 20 /tmp/install.log >&2; exit 1; }" sh "$@"' "$root" "${missing[@]}" >&2
fi
echo "$root"
