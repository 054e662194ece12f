#!/bin/bash
# From power-on to the first line of a kernel, on an emulated machine with real firmware: ours beside an older build of
# ours and dnsmasq (DHCP, TFTP) with nginx (HTTP), each with the same loader, kernel and initrd. Small ones, so that bytes
# hide no wait. Nothing here keeps a processor busy but the machine, so what a server makes it wait for is seen; where
# the time goes is read from the packets on the wire.
#
#   BINARY       the daemon to measure (default: target/release/bootwright)
#   OLD_BINARY   an older build beside it (default: none), with the scripts of OLD_COMMIT (default: db377ab)
#   BOOTS        how many of each (default: 10)
#   FIRMWARES    which firmware (default: "bios uefi"): SeaBIOS with the iPXE of its NIC, and EDK2's own PXE, which
#                fetches snponly.efi; "http" is EDK2's HTTP boot
#   SUITES       whose iPXE (default: "bookworm trixie sid": 1.0.0 of 2019, 1.21.1 and 2.0.0 or later)
#   SERVERS      which servers (default: "bootwright old dnsmasq dnsmasq-no-proxy"); the last is told by its
#                administrator to say that no ProxyDHCP is coming
#   LIMIT        seconds after which a machine has not come to its kernel (default: 90)
#   SHOW         1 prints the way of each boot as well: every packet that begins or ends a step
#   KEEP         a folder to keep the captures and consoles in
#
# SeaBIOS and EDK2 are the newest suite's for all of them, so that only the loader and the server differ. A boot's server
# is started for it and knows nothing of the machine but its reservation. Everything lives in network namespaces that are
# joined to nothing, and goes away at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/common.sh

readonly binary=$(readlink -m "${BINARY:-${CARGO_TARGET_DIR:-target}/release/bootwright}")
readonly old_binary=${OLD_BINARY:+$(readlink -m "$OLD_BINARY")} old_commit=${OLD_COMMIT:-db377ab}
readonly boots=${BOOTS:-10} firmwares=${FIRMWARES:-bios uefi} suites=${SUITES:-bookworm trixie sid}
readonly limit=${LIMIT:-90}
wanted=${SERVERS:-bootwright ${old_binary:+old} dnsmasq dnsmasq-no-proxy}
readonly wanted
readonly net=bwboot-$$
readonly mac=52:54:00:00:00:07 server=192.0.2.1 address=192.0.2.11
readonly newest=sid packages=(ovmf seabios ipxe ipxe-qemu shim-signed grub-efi-amd64-signed)
# Kernels say something on the serial console before they unpack themselves: their setup code for a BIOS, where SeaBIOS
# writes each letter twice, and their stub for UEFI.
readonly first_line='e+a+r+l+y+ +c+o+n+s+o+l+e+ +i+n+ +s+e+t+u+p+|EFI stub: |Linux version'
readonly parameters=(console=ttyS0,115200 earlyprintk=serial,ttyS0,115200 debug)
work=$(mktemp -d)
readonly work
mkdir "$work/logs"
servers=() machine='' sniffer=''

need "$binary" ${old_binary:+"$old_binary"} "${dnsmasq[0]}" "$nginx" /usr/bin/qemu-system-x86_64 /usr/bin/tshark /usr/bin/dumpcap

# shellcheck disable=SC2317 # called by the trap
stop_all() { stop $machine $sniffer "${servers[@]}"; }
clean_up_with stop_all

# A machine's wire: a bridge with the servers' address, and its port. What is sent before a port forwards is lost, so
# it does so at once.
lay_the_wire() {
    ip netns add "$net-s"
    ip -n "$net-s" link set lo up
    ip -n "$net-s" link add eno2 type bridge forward_delay 0
    ip -n "$net-s" addr add "$server/24" dev eno2
    ip -n "$net-s" tuntap add port1 mode tap
    # The machine's port is nobody's: what this host's IPv6 would say there is not the machine's.
    ip -n "$net-s" link set port1 addrgenmode none master eno2 up
    ip -n "$net-s" link set eno2 up
}

# root SUITE: where its packages lie, downloaded where they are not there yet.
root() { tests/newer-root.sh "$1" "${packages[@]}"; }

# make_room BINARY NAME SCRIPTS: a configuration of ours, read by that build.
make_room() {
    local room=$work/$2 quoted
    quoted=$(printf '"%s", ' "${parameters[@]}")
    configure "$room" "$work/files" << END
[[subnet]]
cidr = "192.0.2.0/24"
[[host]]
name    = "r1u07"
mac     = "$mac"
address = "$address"
image   = "bench"
boot    = "live"
script  = "live"
cmdline = [${quoted%, }]
END
    sed -i "s|^scripts = .*|scripts = \"$3\"|" "$room/bootwright.toml"
    "$1" image add bench --images "$room/images" --kernel "$work/files/linux" --initrd "$work/files/initrd" > /dev/null
}

make_boot_files() {
    local kernel
    mkdir -p "$work/files"
    kernel=$(ls -v /usr/lib/debian-installer/images/*/amd64/text/debian-installer/amd64/linux | tail -n 1)
    cp "$kernel" "$work/files/linux"
    # Up to the kernel's first line its initrd is only bytes.
    head -c 4096 /dev/zero > "$work/files/initrd"
    # What our own script does, as a file.
    cat > "$work/files/boot.ipxe" << END
#!ipxe
initrd --name initrd0 http://$server/initrd
kernel --name vmlinuz http://$server/linux initrd=initrd0 ${parameters[*]}
boot
END
    make_room "$binary" bootwright "$PWD/ipxe-scripts"
    if [ -n "$old_binary" ]; then
        mkdir "$work/old-scripts"
        git archive "$old_commit" ipxe-scripts config/answers | tar -x -C "$work/old-scripts"
        make_room "$old_binary" old "$work/old-scripts/ipxe-scripts"
        sed -i "s|^answers = .*|answers = \"$work/old-scripts/config/answers\"|" "$work/old/bootwright.toml"
    fi
    # dnsmasq serves what everybody may read.
    chmod -R a+rX "$work"
}

start_ours() { # NAME BINARY
    rm -rf "$work/$1/state"
    launch "$1.log" "$2" serve --config "$work/$1/bootwright.toml"
    servers=($!)
    await "$1" sh -c "'$2' status --json --socket '$work/$1/admin.sock' | grep -q '\"unserved\": *\[\]'"
}

# start_peers ARGUMENT...: with a reservation as ours, so that it asks nobody whether the address is free.
start_peers() {
    rm -f "$work/dnsmasq.leases"
    launch dnsmasq.log "${dnsmasq[@]}" --interface=eno2 --dhcp-leasefile="$work/dnsmasq.leases" \
        --dhcp-range=192.0.2.0,static,255.255.255.0,1h --dhcp-host="$mac,$address,r1u07" \
        --dhcp-match=set:ipxe,175 --dhcp-boot="tag:!ipxe,snponly.efi,,$server" \
        --dhcp-boot="tag:ipxe,http://$server/boot.ipxe,,$server" --enable-tftp --tftp-root="$work/files" "$@"
    servers=($!)
    launch_nginx "$server" 1024
    servers+=($!)
    await nginx ip netns exec "$net-s" bash -c "exec 3<> /dev/tcp/$server/80"
}

start_server() {
    case $1 in
        bootwright) start_ours bootwright "$binary" ;;
        old) start_ours old "$old_binary" ;;
        dnsmasq) start_peers ;;
        dnsmasq-no-proxy) start_peers --dhcp-option=tag:ipxe,encap:175,176,1b ;;
    esac
}

await() { # WHAT COMMAND...
    local what=$1
    shift
    for _ in $(seq 100); do
        "$@" > /dev/null 2>&1 && return
        sleep 0.1
    done
    echo "boot bench: $what does not answer: $(tail -n 3 "$work"/logs/*)" >&2
    exit 1
}

# machine_arguments FIRMWARE SUITE
machine_arguments() {
    local new=$roots/$newest rom device
    case $1 in
        bios)
            rom=$roots/$2/usr/share/qemu/pxe-virtio.rom
            [ -e "$rom" ] || rom=$roots/$2/usr/lib/ipxe/qemu/pxe-virtio.rom
            # SeaBIOS runs a ROM for the device that it names: 1041 is virtio of today, 1000 that of before.
            device=$(od -A n -t u2 -j 24 -N 2 "$rom")
            device=$(od -A n -t x2 -j $((device + 6)) -N 2 "$rom")
            printf '%s\n' -bios "$new/usr/share/seabios/bios-256k.bin" -boot order=nc \
                -device "virtio-net-pci,netdev=net0,mac=$mac,romfile=$rom$([ "${device// /}" != 1041 ] || echo ,disable-legacy=on)"
            ;;
        uefi | http)
            cp "$new/usr/share/OVMF/OVMF_VARS_4M.fd" "$work/variables.fd"
            printf '%s\n' -device "virtio-net-pci,netdev=net0,mac=$mac,romfile=" -device virtio-rng-pci \
                -drive "if=pflash,format=raw,unit=0,readonly=on,file=$new/usr/share/OVMF/OVMF_CODE_4M.fd" \
                -drive "if=pflash,format=raw,unit=1,file=$work/variables.fd" \
                -fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=n
            [ "$1" = uefi ] || printf '%s\n' -fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=n
            ;;
    esac
}

# Each line of standard input with the moment at which it was whole.
stamp() { perl -MTime::HiRes=time -ne 'BEGIN { $| = 1 } printf "%.3f %s", time, $_'; }

# power_on_and_wait FIRMWARE SUITE: leaves the capture, the console and the moments in $work/boot.
power_on_and_wait() {
    local arguments end
    rm -rf "$work/boot"
    mkdir "$work/boot"
    mapfile -t arguments < <(machine_arguments "$1" "$2")
    ip netns exec "$net-s" dumpcap -q -i eno2 -w "$work/boot/wire.pcapng" > /dev/null 2> "$work/boot/dumpcap" &
    sniffer=$!
    await dumpcap grep -q '^File' "$work/boot/dumpcap"
    : > "$work/boot/console"
    mkfifo "$work/boot/serial"
    stamp < "$work/boot/serial" > "$work/boot/console" &
    date +%s.%N > "$work/boot/on"
    ip netns exec "$net-s" qemu-system-x86_64 -accel tcg -m 512 -nographic -vga none -no-reboot -monitor none \
        -serial stdio -netdev tap,id=net0,ifname=port1,script=no,downscript=no "${arguments[@]}" \
        < /dev/null > "$work/boot/serial" 2> "$work/boot/qemu" &
    machine=$!
    end=$((SECONDS + limit))
    until grep -aqE "$first_line" "$work/boot/console" || [ $SECONDS -ge $end ] || ! kill -0 "$machine" 2> /dev/null; do sleep 0.1; done
    # What was captured comes in pieces.
    sleep 0.5
    stop "$machine" "$sniffer"
    machine='' sniffer=''
}

# What begins or ends a step, as "seconds since power-on, what, of what", from the capture and the console.
way_of_boot() {
    local on
    on=$(cat "$work/boot/on")
    {
        tshark -n -r "$work/boot/wire.pcapng" -Y 'dhcp or tftp or http or arp or icmpv6.type in {133, 134}' -T fields -E separator=/t \
            -e frame.time_epoch -e dhcp.option.dhcp -e tftp.opcode -e udp.srcport -e udp.dstport -e tftp.source_file \
            -e http.request.method -e http.request.uri -e http.response.code -e icmpv6.type -e arp.opcode -e arp.dst.proto_ipv4 2> /dev/null \
            | awk -F '\t' -v on="$on" '
                function say(what, of) { printf "%.2f\t%s\t%s\n", $1 - on, what, of }
                BEGIN { split("DISCOVER OFFER REQUEST DECLINE ACK NAK", dhcp, " ") }
                $2 != "" { say(dhcp[$2], "to port " $5); next }
                $3 == 1 { file[$4] = $6; say("RRQ", $6); next }
                $3 == 5 && $4 in file { say("ABORTED", file[$4]); delete file[$4]; next }
                $3 == 5 { say("ERROR", file[$5]); delete file[$5]; next }
                $3 == 4 && $4 in file { acked[$4] = $1 - on; next }
                $7 != "" { say($7, $8); next }
                $9 != "" { say("HTTP", $9); next }
                $10 == 133 { say("SOLICITATION", ""); next }
                $10 == 134 { say("ADVERTISEMENT", ""); next }
                $11 == 1 { say("ARP", $12); next }
                END { for (port in file) if (port in acked) printf "%.2f\tSENT\t%s\n", acked[port], file[port] }'
        awk -v on="$on" -v pattern="$first_line" '$0 ~ pattern { printf "%.2f\tKERNEL\t\n", $1 - on; exit }' "$work/boot/console"
    } | sort -t "$tab" -n -s -k 1,1
}

# The moments that a way has in it, in the order of $steps; "-" for what did not happen.
moments() {
    awk -F '\t' '
        $2 == "DISCOVER" && !discover { discover = $1 }
        $2 == "ACK" && !ack { ack = $1 }
        ($2 == "SENT" || $2 == "HTTP") && !script && !image { loader = $1 }
        $2 == "GET" && $3 ~ /boot\.ipxe/ && !script { script = $1 }
        $2 == "GET" && $3 ~ /\/(linux|initrd)$/ && !image { image = $1 }
        $2 == "HTTP" && image { had = $1 }
        $2 == "KERNEL" { kernel = $1 }
        function shown(moment) { return moment == "" ? "-" : moment }
        END { print shown(discover), shown(ack), loader == "" ? shown(ack) : loader, shown(script), shown(image), shown(had), shown(kernel) }' "$1"
}

readonly tab=$'\t'
readonly steps='DISCOVER ACK loader script? kernel? kernel KERNEL'

# The median, or nothing where there is nothing.
middle() { median || true; }

# summarize NAME FILE: the medians of the steps, each from the one before it, and of the whole.
summarize() {
    local column line=''
    whole=$(awk '$7 != "-" { print $7 }' "$2" | middle)
    for column in 1 2 3 4 5 6 7; do
        line+=$(awk -v c="$column" '$c != "-" && (c == 1 || $(c - 1) != "-") { print $c - (c == 1 ? 0 : $(c - 1)) }' "$2" | middle \
            | awk '{ printf($1 == "" ? "        -" : "%9.2f"), $1 }')
    done
    printf '  %-18s%s%10s   %s of %s\n' "$1" "$line" "${whole:--}" "$(awk '$7 != "-"' "$2" | wc -l)" "$(wc -l < "$2")"
}

for suite in $newest $suites; do root "$suite" > /dev/null; done
readonly roots=${BOOTWRIGHT_TEST_ROOTS:-/usr/local/lib/bootwright-tests/roots}
make_boot_files
lay_the_wire
begin_figures
declare -A of
for firmware in $firmwares; do
    for suite in $suites; do
        version=$(chroot "$roots/$suite" dpkg-query -W -f '${Version}' ipxe)
        echo "== $firmware, iPXE $version of $suite: median seconds from step to step in $boots boots"
        printf '  %-18s%s\n' '' '   ask  address   loader  script?  kernel?    files   starts     whole'
        cp "$roots/$suite/usr/lib/ipxe/snponly.efi" "$roots/$suite/usr/lib/ipxe/undionly.kpxe" "$work/files/"
        chmod a+r "$work"/files/*
        rm -f "$work"/moments.*
        # In turns, so that what this machine does besides meets all of them.
        for boot in $(seq "$boots"); do
            for name in $wanted; do
                start_server "$name"
                power_on_and_wait "$firmware" "$suite"
                way_of_boot > "$work/boot/way"
                moments "$work/boot/way" >> "$work/moments.$name"
                stop "${servers[@]}"
                servers=()
                [ -z "${SHOW:-}" ] || { echo "  -- $name"; cat "$work/boot/way"; }
                [ -z "${KEEP:-}" ] || { mkdir -p "$KEEP" && rm -rf "$KEEP/$firmware-$suite-$name-$boot" && cp -r "$work/boot" "$KEEP/$firmware-$suite-$name-$boot"; }
            done
        done
        of=()
        for name in $wanted; do
            summarize "$name" "$work/moments.$name"
            of[$name]=$whole
            [ -z "$whole" ] || keep_figure "$firmware, iPXE of $suite: s from power-on to the kernel" "$name" "$whole"
        done
        for name in $wanted; do
            if [ "$name" = bootwright ] || [ -z "${of[bootwright]:-}" ]; then continue; fi
            awk -v o="${of[bootwright]}" -v p="${of[$name]}" -v name="$name" 'BEGIN {
                if (p == "") printf "  %s never came to the kernel\n", name; else printf "  ours : %s %.2f\n", name, o / p }'
        done
    done
done
plot_figures "Power-on to the kernel's first line"
