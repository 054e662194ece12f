# The part of fresh-root.sh that runs inside: each argument is a step. Sourced in the checkout; bash.

# What is started at the next boot, by link; getty and the like are systemd's own and in the root from the start.
started_at_boot() {
    find /etc/systemd/system /etc/rc[2-5].d \( -path '*.wants/*' -o -path '*.requires/*' -o -name 'S[0-9][0-9]*' \) 2> /dev/null | sort
}

# Programs that serve, and outlive the step that installed them.
still_running() {
    cat /proc/[0-9]*/comm 2> /dev/null | grep -E 'nginx|in\.tftpd|dhcrelay|dnsmasq|dhcpcd|dhclient|kea|qemu|bootwright' | sort -u
}

demo() {
    make demo
}

install_it() {
    make
    make install
    systemd-sysusers
    local image
    image=$(sed -n 's/^image *= *"\(.*\)"/\1/p' /etc/bootwright/inventory.toml)
    bootwright image fetch "debian-$(ls /usr/lib/debian-installer/images 2> /dev/null | sort -V | tail -n 1)" --as "$image" --offline --force \
        || bootwright image fetch "$image" --force
    bootwright check /etc/bootwright
}

run_step() {
    case $1 in
        demo) demo ;;
        install) install_it ;;
        test) make test ;;
        *) echo "no step is called $1: demo, install, test, shell" >&2; return 2 ;;
    esac
}

failed=0
for step in "$@"; do
    started_at_boot > /tmp/before
    started=$SECONDS
    echo "== $step"
    # In a shell of its own, where an error ends the step and not all that follows.
    if [ "$step" = shell ]; then bash; continue; fi
    bash -ec "$(declare -f demo install_it run_step); run_step $step" < /dev/null
    status=$?
    took=$((SECONDS - started))
    came=$(started_at_boot | comm -13 /tmp/before - | xargs -r -n 1 basename | sort -u | paste -sd' ')
    runs=$(still_running | paste -sd' ')
    [ -z "$came" ] || { echo "left behind: started at the next boot: $came"; status=1; }
    [ -z "$runs" ] || { echo "left behind: still running: $runs"; status=1; }
    if [ "$status" = 0 ]; then echo "== $step: passed in $took s"; else echo "== $step: FAILED after $took s"; failed=1; fi
done
exit $failed
