#!/bin/sh
# make fuzz [SECONDS=120]: coverage-guided fuzzing of DHCP and TFTP on the stable toolchain.
#
# The compiler's own coverage pass (-Cpasses=sancov-module) needs no nightly; libFuzzer comes with
# the crate and g++ builds it. New inputs land in target/fuzz-corpus; one that breaks a property lands
# in target/fuzz-artifacts, and its hex belongs into tests/fuzz/corpus/TARGET-found.hex with a word on
# what it was, where `make test` replays it. MINIMISE=1 writes a small corpus that reaches the same
# code back to tests/fuzz/corpus/TARGET.hex.
set -eu
cd "$(dirname "$0")/../.."
seconds=${SECONDS_EACH:-60}
command -v c++ > /dev/null || {
  echo "bootwright: libFuzzer needs a C++ compiler (Debian: apt-get install g++), then run make fuzz again" >&2
  exit 1
}
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target the flags reach neither build scripts nor procedural macros.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
export CARGO_TARGET_DIR=target/fuzz
cargo build --quiet --release --locked --manifest-path tests/fuzz/Cargo.toml --target "$host"
for target in ${TARGETS:-dhcp tftp}; do
  program=target/fuzz/$host/release/$target
  seeds=target/fuzz-seeds/$target
  rm -rf "$seeds"
  mkdir -p "$seeds" "target/fuzz-corpus/$target" target/fuzz-artifacts
  cat "tests/fuzz/corpus/$target"*.hex | SEEDS=$seeds perl -ne '
    next if /^#/; chomp; open F, ">:raw", "$ENV{SEEDS}/$." or die; print F pack "H*", $_; close F'
  echo "== $target: $seconds s"
  nice -n 19 "$program" -max_total_time="$seconds" -max_len=2048 -len_control=20 -timeout=10 -rss_limit_mb=1024 \
    -artifact_prefix="target/fuzz-artifacts/$target-" -print_final_stats=1 -verbosity=1 \
    "target/fuzz-corpus/$target" "$seeds" > "target/fuzz-$target.log" 2>&1 || {
      tail -40 "target/fuzz-$target.log"
      echo "bootwright: $target broke a property; the input is in target/fuzz-artifacts" >&2
      exit 1
    }
  grep -aE '[[:space:]](INITED|DONE)[[:space:]]|^Done' "target/fuzz-$target.log"
  if [ -n "${MINIMISE:-}" ]; then
    rm -rf "target/fuzz-minimal/$target"
    mkdir -p "target/fuzz-minimal/$target"
    nice -n 19 "$program" -merge=1 -max_len=1024 -use_counters=0 -use_cmp=0 "target/fuzz-minimal/$target" \
      "target/fuzz-corpus/$target" "$seeds" > "target/fuzz-$target.merge.log" 2>&1
    perl -0777 -ne 'print unpack("H*", $_), "\n"' "target/fuzz-minimal/$target"/* |
      LC_ALL=C sort | LC_ALL=C awk '{ print length, $0 }' | LC_ALL=C sort -ns | cut -d' ' -f2- \
      > "tests/fuzz/corpus/$target.hex"
  fi
done
