# Roots of other releases, for newer-root.sh and fresh-root.sh. Sourced; bash.

# The suites of Ubuntu that are known here; every other name is a suite of Debian.
is_ubuntu() { # SUITE
    case $1 in jammy | noble | resolute) return 0 ;; *) return 1 ;; esac
}

# The mirror of this machine's own sources for a distribution, or that distribution's own server.
mirror_for() { # SUITE
    local folder=debian server=http://deb.debian.org/debian from
    if is_ubuntu "$1"; then folder=ubuntu server=http://archive.ubuntu.com/ubuntu; fi
    from=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
        | sed -n "s|^\([^ ]*/$folder/\{0,1\}\)\$|\1|p" | head -n 1)
    echo "${from:-$server}"
}

# Makes a root with apt and `packages`. What this machine's apt is told of its mirror (a proxy, a snapshot
# whose dates are old) holds for it too.
make_root() { # SUITE ROOT PACKAGES,WITH,COMMAS [mmdebstrap's options ...]
    local suite=$1 root=$2 packages=$3 acquire status=0 options=() tests
    shift 3
    tests=$(dirname "${BASH_SOURCE[0]}")
    "$tests/install-packages.sh" mmdebstrap >&2
    if is_ubuntu "$suite"; then
        local keys=/usr/share/keyrings/ubuntu-archive-keyring.gpg
        # Debian 13 has Ubuntu's keys in a package, Debian 12 has not.
        [ -e $keys ] || keys=$("$tests/newer-root.sh" trixie ubuntu-keyring)$keys
        options+=(--components=main,universe --keyring="$keys")
    fi
    [ ! -d "$root" ] || rm -r --one-file-system "$root"
    acquire=$(mktemp)
    apt-config dump | grep '^Acquire::' > "$acquire" || true
    mmdebstrap --quiet --variant=apt --skip=cleanup/apt/lists ${packages:+--include="$packages"} \
        --aptopt="$acquire" --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "5"' \
        "${options[@]}" "$@" "$suite" "$root" "$(mirror_for "$suite")" >&2 || status=$?
    rm -f "$acquire"
    return $status
}

# Inside a mount namespace of its own: what programs find on a system, and how names are looked up.
dress_root() { # ROOT
    mount --rbind /dev "$1/dev"
    mount -t proc proc "$1/proc"
    mount -t sysfs -o ro sysfs "$1/sys"
    cp -L /etc/resolv.conf "$1/etc/resolv.conf" 2> /dev/null || true
    cp -L /etc/hosts "$1/etc/hosts" 2> /dev/null || true
}
