#!/bin/bash
# udhcpc of BusyBox 1.35.0 (Debian 12's busybox 1:1.35.0-4+deb12u1+b1): after another server than its first
# acknowledged a renewal, it still counts the first as its own. It goes on renewing with that one alone, and a
# NAK from the server that gave it its running lease, whose identifier (option 54) is that server's, is passed
# over: it keeps an address that it was refused until the lease ends.
#
# RFC 2131 lets any server that has the binding answer a client that rebinds, so this is what a client meets
# whose DHCP server was replaced, or changed its address.
#
# Needs root (network namespaces of its own, 192.0.2.0/24, joined to nothing), Debian 12's package mirror,
# python3. A server gives a lease of 20 s as 192.0.2.1, renews it once as 192.0.2.2, and answers with a NAK from
# then on; beside it the same with NAKs of the first one. Output seen:
#
#   NAK as 192.0.2.2: 4 NAKs before a new DISCOVER
#   NAK as 192.0.2.1: 1 NAK before a new DISCOVER
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "this makes network namespaces: run it as root" >&2; exit 2; }
work=$(mktemp -d)
near=finding-near-$$ far=finding-far-$$ client=''
clean_up() {
    [ -z "$client" ] || kill "$client" 2> /dev/null || true
    ip netns del "$near" 2> /dev/null || true
    ip netns del "$far" 2> /dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download busybox=1:1.35.0-4+deb12u1+b1
dpkg-deb --extract ./busybox_*.deb .

cat > server.py <<'PYTHON'
import socket, struct, sys

FIRST, SECOND, CLIENT = (socket.inet_aton(text) for text in ("192.0.2.1", "192.0.2.2", "192.0.2.50"))
OFFER, ACK, NAK = 2, 5, 6


def options(packet):
    found, at = {}, 240
    while at < len(packet) and packet[at] != 255:
        length = packet[at + 1]
        found[packet[at]] = packet[at + 2 : at + 2 + length]
        at += 2 + length
    return found


def reply(request, kind, server):
    head = bytearray(request[:236])
    head[0] = 2
    head[16:20] = bytes(4) if kind == NAK else CLIENT
    said = b"\x63\x82\x53\x63" + bytes([53, 1, kind, 54, 4]) + server
    if kind != NAK:
        said += bytes([51, 4]) + struct.pack("!I", 20) + bytes([1, 4, 255, 255, 255, 0])
    return bytes(head) + (said + b"\xff").ljust(64, b"\0")


refusing = socket.inet_aton(sys.argv[1])
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
wire.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"server\0")
wire.bind(("", 67))
wire.settimeout(60)
renewed, naks = False, 0
while True:
    packet = wire.recv(2048)
    said = options(packet)
    if said[53] == b"\x01" and naks:
        break
    if said[53] == b"\x01":
        kind, server = OFFER, FIRST
    elif 54 in said:
        kind, server = ACK, FIRST
    elif not renewed:
        renewed, kind, server = True, ACK, SECOND
    else:
        naks, kind, server = naks + 1, NAK, refusing
    # To its address and to everybody, so that it is heard in every state.
    for to in ("192.0.2.50", "255.255.255.255"):
        wire.sendto(reply(packet, kind, server), (to, 68))
print(f"NAK as {sys.argv[1]}: {naks} NAK{'s' if naks > 1 else ''} before a new DISCOVER")
PYTHON
cat > configure <<'SCRIPT'
#!/bin/sh
case $1 in
    deconfig) ip addr flush dev "$interface" ;;
    bound) ip addr add "$ip/24" dev "$interface" ;;
esac
SCRIPT
chmod +x configure

ip netns add "$near"
ip netns add "$far"
ip -n "$near" link add server type veth peer name client netns "$far"
ip -n "$near" addr add 192.0.2.1/24 dev server
ip -n "$near" addr add 192.0.2.2/24 dev server
ip -n "$near" link set server up
ip -n "$far" link set client up

for refusing in 192.0.2.2 192.0.2.1; do
    ip netns exec "$far" bin/busybox udhcpc -f -i client -s "$work/configure" > client.log 2>&1 &
    client=$!
    # The server's end waits for its packets at most a minute each.
    ip netns exec "$near" timeout 180 python3 server.py "$refusing"
    kill "$client"
    wait "$client" || true
    client=''
done | tee seen

# How many fit into the rest of a lease may differ; that it is more than one is the behaviour.
grep -qE '^NAK as 192\.0\.2\.2: [2-9] NAKs before' seen
grep -qx 'NAK as 192.0.2.1: 1 NAK before a new DISCOVER' seen
