#!/bin/sh
# make fuzz [SECONDS=420]: coverage-guided fuzzing on the stable toolchain; TARGETS="relay journal" for some.
#
# The compiler's own coverage pass (-Cpasses=sancov-module) needs no nightly; libFuzzer comes with
# the crate and g++ builds it. New inputs land in target/fuzz-corpus; one that breaks a property lands
# in target/fuzz-artifacts, and its hex belongs into tests/fuzz/corpus/TARGET-found.hex with a word on
# what it was, where `make test` replays it. MINIMISE=1 writes a small corpus that reaches what the files
# made by hand (tests/fuzz/corpus/TARGET/) do not to tests/fuzz/corpus/TARGET.hex.
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
[ -n "${BUILT:-}" ] ||
  cargo build --quiet --release --locked --manifest-path tests/fuzz/Cargo.toml --target "$host"
# Folders that targets write thousands of files into: in memory where there is such a place.
TMPDIR=$(mktemp -d -p /dev/shm 2> /dev/null || mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
for target in ${TARGETS:-capture dhcp tftp relay syslog journal inventory template http}; do
  program=target/fuzz/$host/release/$target
  seeds=target/fuzz-seeds/$target
  rm -rf "$seeds"
  mkdir -p "$seeds" "target/fuzz-corpus/$target" target/fuzz-artifacts
  for file in "tests/fuzz/corpus/$target"*.hex; do
    [ ! -e "$file" ] || SEEDS=$seeds/$(basename "$file") perl -ne '
      next if /^#/; chomp; open F, ">:raw", "$ENV{SEEDS}.$." or die; print F pack "H*", $_; close F' "$file"
  done
  by_hand=tests/fuzz/corpus/$target
  [ ! -d "$by_hand" ] || cp "$by_hand"/* "$seeds"
  words=tests/fuzz/dict/$target.dict
  [ -e "$words" ] || words=
  echo "== $target: $seconds s"
  nice -n 19 "$program" -max_total_time="$seconds" -max_len=2048 -len_control=20 -timeout=20 -rss_limit_mb=1024 \
    ${words:+"-dict=$words"} -artifact_prefix="target/fuzz-artifacts/$target-" -print_final_stats=1 -verbosity=1 \
    "target/fuzz-corpus/$target" "$seeds" > "target/fuzz-$target.log" 2>&1 || {
      tail -40 "target/fuzz-$target.log"
      echo "bootwright: $target broke a property; the input is in target/fuzz-artifacts" >&2
      exit 1
    }
  grep -aE '[[:space:]](INITED|DONE)[[:space:]]|^Done' "target/fuzz-$target.log"
  if [ -n "${MINIMISE:-}" ]; then
    rm -rf "target/fuzz-minimal/$target"
    mkdir -p "target/fuzz-minimal/$target"
    # What is made by hand comes first, and so is what the rest is measured against.
    [ ! -d "$by_hand" ] || cp "$by_hand"/* "target/fuzz-minimal/$target"
    nice -n 19 "$program" -merge=1 -max_len=1024 -use_counters=0 -use_cmp=0 "target/fuzz-minimal/$target" \
      "target/fuzz-corpus/$target" "$seeds" > "target/fuzz-$target.merge.log" 2>&1
    [ ! -d "$by_hand" ] || (cd "$by_hand" && ls) | (cd "target/fuzz-minimal/$target" && xargs -d '\n' rm -f)
    perl -0777 -ne '$h = unpack("H*", $_); print "$h\n" if !$seen{$h}++ && $ARGV =~ m|^target/|' \
      $([ ! -d "$by_hand" ] || printf '%s\n' "$by_hand"/*) "target/fuzz-minimal/$target"/* |
      LC_ALL=C sort | LC_ALL=C awk '{ print length, $0 }' | LC_ALL=C sort -ns | cut -d' ' -f2- \
      > "tests/fuzz/corpus/$target.hex"
  fi
done
