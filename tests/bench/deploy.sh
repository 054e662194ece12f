#!/bin/bash
# How fast the deployer writes a disk, beside `curl | zstd -d | dd oflag=direct conv=fsync` onto the same loop device:
# the same image from the same nginx, one after the other, several rounds. Ours checks the SHA-256 of the file and of
# the image, and reads back all that it wrote; the pipe does neither.
#
#   DEPLOYER  the program to measure (default: target/release/bootwright-deploy)
#   MIB       megabytes of the image (default: 2048): a quarter noise, a quarter zeros, half text
#   ROUNDS    of each (default: 3)
#   WORK      where files are made (default: /var/tmp; not a tmpfs, which has no O_DIRECT)
#
# It writes to a loop device that it makes itself, and to nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly deployer=$(readlink -m "${DEPLOYER:-${CARGO_TARGET_DIR:-target}/release/bootwright-deploy}")
readonly mib=${MIB:-2048} rounds=${ROUNDS:-3} port=18067
work=$(mktemp -d "${WORK:-/var/tmp}/bwdeploy.XXXXXX")
readonly work
loop="" nginx=""

for program in "$deployer" /usr/sbin/nginx /usr/bin/curl /usr/bin/zstd /usr/bin/jq; do
    [ -x "$program" ] || { echo "deploy bench: $program is not here: make bench-deploy installs and builds what it needs" >&2; exit 1; }
done

take_away() {
    [ -z "$nginx" ] || kill "$nginx" 2> /dev/null || true
    [ -z "$loop" ] || losetup -d "$loop" || true
    rm -rf "$work"
}
trap take_away EXIT
trap 'exit 130' INT TERM

readonly quarter=$((mib / 4))
{ head -c "${quarter}M" /dev/urandom
  { yes "what a file system of an installed system holds is text and programs, mostly: $RANDOM" || true; } |
      head -c "$((2 * quarter))M"
  head -c "${quarter}M" /dev/zero; } > "$work/image.raw"
zstd -q -3 "$work/image.raw" -o "$work/image.zst"
gzip -1 -c "$work/image.raw" > "$work/image.gz"

truncate -s "$((mib + 64))M" "$work/disk"
# Its blocks are there before the first round, or that one would pay for them.
dd if=/dev/zero of="$work/disk" bs=4M count="$(((mib + 64) / 4))" conv=notrunc oflag=direct status=none
loop=$(losetup --find --show --direct-io=on "$work/disk")

# The machine that the deployer sees: one disk, ours.
mkdir -p "$work/machine/sys/block/sda/device" "$work/machine/sys/block/sda/queue" "$work/machine/dev"
echo $(((mib + 64) * 2048)) > "$work/machine/sys/block/sda/size"
echo 512 > "$work/machine/sys/block/sda/queue/logical_block_size"
ln -s "$loop" "$work/machine/dev/sda"

cat > "$work/nginx.conf" <<CONF
daemon off; pid $work/nginx.pid; error_log $work/error.log;
events {}
http { access_log off; sendfile on; default_type application/octet-stream;
  client_body_temp_path $work/body; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  server { listen 127.0.0.1:$port; root $work; location /callback/ { return 200; } } }
CONF
chmod 755 "$work"
/usr/sbin/nginx -c "$work/nginx.conf" &
nginx=$!
readonly base=http://127.0.0.1:$port
until curl -fsS -o /dev/null "$base/nginx.conf" 2> /dev/null; do sleep 0.1; done

sum_of() { sha256sum "$1" | cut -d' ' -f1; }
readonly raw_sum=$(sum_of "$work/image.raw")

# order NAME FORMAT
order() {
    local unpacked=null
    [ "$2" = raw ] || unpacked="{\"bytes\": $((quarter * 4 * 1048576)), \"sha256\": \"$raw_sum\"}"
    jq -n --arg url "$base/$1" --arg format "$2" --arg sha256 "$(sum_of "$work/$1")" --argjson bytes "$(stat -c %s "$work/$1")" \
        --argjson unpacked "$unpacked" --arg callback "$base/callback/r1u07/0" \
        '{version: 1, image: ({url: $url, format: $format, bytes: $bytes, sha256: $sha256}
          + (if $unpacked == null then {} else {unpacked: $unpacked} end)), callback: $callback}' > "$work/order.json"
}

seconds() {
    local from to
    from=$(date +%s%N)
    "$@"
    to=$(date +%s%N)
    awk -v ns=$((to - from)) 'BEGIN { printf "%.2f\n", ns / 1e9 }'
}

pipe() { curl -fsS "$base/$1" | $2 | dd of="$loop" bs=4M iflag=fullblock oflag=direct conv=fsync status=none; }
# It waits for no further disks, as where the order names one by its serial number.
ours() { "$deployer" install "$base/order.json" --root "$work/machine" --settle 0s > /dev/null 2> "$work/deploy.log" || { cat "$work/deploy.log" >&2; exit 1; }; }
median() { sort -n | sed -n "$((rounds / 2 + 1))p"; }

printf '%-8s %12s %12s %8s\n' "$((quarter * 4)) MiB" "pipe, s" "deployer, s" "ratio"
for row in "image.zst zstd zstd_-dcq" "image.gz gzip gzip_-dc" "image.raw raw cat"; do
    read -r name format unpack <<< "$row"
    order "$name" "$format"
    : > "$work/pipe"; : > "$work/ours"
    for _ in $(seq "$rounds"); do
        seconds pipe "$name" "${unpack//_/ }" >> "$work/pipe"
        seconds ours >> "$work/ours"
        cmp --bytes=$((quarter * 4 * 1048576)) "$work/image.raw" "$loop"
    done
    pipe_s=$(median < "$work/pipe") ours_s=$(median < "$work/ours")
    printf '%-8s %12s %12s %8s\n' "$format" "$pipe_s" "$ours_s" "$(awk -v a="$pipe_s" -v b="$ours_s" 'BEGIN { printf "%.2f", a / b }')"
done
