# What tests/lab/unit.rs has done to the unit, under a systemd of its own: each part begins with `== NAME`.
cd /etc/bootwright
reap() { systemctl stop bootwright 2> /dev/null; systemctl reset-failed bootwright 2> /dev/null; }
# What the part added to the journal, by priority.
lines() {
    journalctl --sync
    for priority in err warning info; do
        journalctl -u bootwright SYSLOG_IDENTIFIER=bootwright -p "$priority..$priority" -o cat --no-pager \
            --cursor-file="/tmp/$priority" -q | sed "s/^/$priority: /"
    done
}
# The state's text, once it is not the one before.
text() {
    for _ in $(seq 100); do
        said=$(systemctl show bootwright -P StatusText)
        [ "$said" = "${1:-}" ] || break
        sleep 0.1
    done
    echo "status: $said"
}

echo "== a first start is refused"
systemctl start bootwright 2> /dev/null; echo "exit: $?"
reap; lines

echo "== a sound start"
head -c 5000 /dev/zero > /tmp/kernel; cp /tmp/kernel /tmp/initrd
cp /tmp/kernel /usr/lib/ipxe/undionly.kpxe; cp /tmp/kernel /usr/lib/ipxe/snponly.efi
bootwright image add debian-13 --arch x86_64 --kernel /tmp/kernel --initrd /tmp/initrd --images /srv/bootwright/images > /dev/null 2>&1
systemctl start bootwright; echo "exit: $?"
for _ in $(seq 100); do [ -e /var/lib/bootwright/accepted/1 ] && break; sleep 0.1; done
text; stat -c 'kept: %a %U' /var/lib/bootwright/accepted
lines > /dev/null

echo "== a restart that is refused"
cp inventory.toml /tmp/good; echo '[[host' >> inventory.toml
systemctl restart bootwright; echo "exit: $?"
text; lines

echo "== corrected"
cp /tmp/good inventory.toml
text "$said"; lines

echo "== a port that is held"
reap; lines > /dev/null
perl -MIO::Socket::INET -e '$socket = IO::Socket::INET->new(LocalPort => 69, Proto => "udp") or die $!; sleep 60' &
for _ in $(seq 100); do ss -Hlnu 'sport = :69' | grep -q . && break; sleep 0.1; done
systemctl start bootwright 2> /dev/null; echo "exit: $?"
reap; lines
echo "root sees: $(ss -Hlnpu 'sport = :69')"
kill %1

echo "== arguments that make no sense"
mkdir /etc/systemd/system/bootwright.service.d
printf '[Service]\nExecStart=\nExecStart=/usr/bin/bootwright serve --confg /x\n' > /etc/systemd/system/bootwright.service.d/own.conf
systemctl daemon-reload
systemctl start bootwright 2> /dev/null; echo "exit: $?"
reap; lines
