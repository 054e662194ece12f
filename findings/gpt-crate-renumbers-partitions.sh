#!/bin/bash
# Rust's crate gpt 4.1.0: a table that is opened and written back unchanged has other partition numbers.
#
# Entries go out one behind the other, whatever their numbers were. Partitions 1, 14 and 15, as every cloud image of
# Debian and Ubuntu has them, become 1, 2 and 3. The call succeeds, and the open disk goes on to show 1, 14 and 15:
# only who reads the disk anew sees it. What says /dev/vda15, or a loader's (hd0,gpt14), finds nothing then. The
# partitions' own UUIDs stay.
#
# So a program that grows the last partition of an image changes the entry's bytes in their place, or calls sgdisk or
# sfdisk.
#
# Needs cargo and sfdisk. Output seen:
#
#   read [1, 14, 15]
#   kept [1, 14, 15]
#   before: 1 14 15
#   after: 1 2 3
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

mkdir -p rewrite/src
cat > rewrite/Cargo.toml <<'TOML'
[package]
name = "rewrite"
version = "0.0.0"
edition = "2021"

[dependencies]
gpt = "=4.1.0"
TOML
cat > rewrite/src/main.rs <<'RUST'
fn main() {
    let path = std::env::args().nth(1).expect("a path");
    let config = gpt::GptConfig::new().writable(true);
    let mut disk = config.open(path).expect("a disk with a GPT");
    println!("read {:?}", disk.partitions().keys().collect::<Vec<_>>());
    disk.write_inplace().expect("it can be written");
    println!("kept {:?}", disk.partitions().keys().collect::<Vec<_>>());
}
RUST

truncate -s 64M disk.img
sfdisk --quiet disk.img <<'TABLE'
label: gpt
1 : start=34816, size=20480, name=root
14 : start=2048, size=8192, type=21686148-6449-6E6F-744E-656564454649, name=bios
15 : start=10240, size=20480, type=U, name=esp
TABLE
numbers() { sfdisk --dump disk.img | sed -n 's/^disk\.img\([0-9]*\) : .*/\1/p' | paste -sd ' '; }

before=$(numbers)
shown=$(cd rewrite && cargo run --quiet --release -- "$work/disk.img")
after=$(numbers)
printf '%s\nbefore: %s\nafter: %s\n' "$shown" "$before" "$after"
[ "$shown" = $'read [1, 14, 15]\nkept [1, 14, 15]' ]
[ "$before" = "1 14 15" ]
[ "$after" = "1 2 3" ]
