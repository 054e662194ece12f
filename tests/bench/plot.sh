#!/bin/bash
# Draws what a bench kept (tests/bench/common.sh, keep_figure) as an SVG on standard output: a panel a row, a bar a
# server, each panel on its own scale from zero. Needs gnuplot.
#
#   tests/bench/plot.sh TITLE FIGURES.tsv
set -euo pipefail
readonly title=$1 figures=$2
[ -x /usr/bin/gnuplot ] || { echo "plot: gnuplot is not here: tests/install-packages.sh gnuplot-nox" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

readonly columns=3
panels=$(cut -f 1 "$figures" | awk '!seen[$0]++' | wc -l)
rows=$(((panels + columns - 1) / columns))
{
    printf 'set terminal svg size %d, %d font "sans-serif,11" background "white" dynamic\n' $((columns * 320)) $((rows * 250 + 40))
    printf 'set multiplot layout %d, %d title "%s"\n' "$rows" "$columns" "${title//\"/}"
    printf 'set datafile separator "\\t"\nset style fill solid 0.8 noborder\nset boxwidth 0.6\nunset key\n'
    printf 'set yrange [0:*]\nset grid ytics\nset border 3\nset tics nomirror\nset offsets 0.5, 0.5, graph 0.15, 0\n'
    panel=0
    cut -f 1 "$figures" | awk '!seen[$0]++' | while IFS= read -r row; do
        awk -F '\t' -v row="$row" '$1 == row { print $2 "\t" $3 }' "$figures" > "$work/$panel"
        printf 'set title "%s"\n' "${row//\"/}"
        printf 'plot "%s" using 0:2:(column(0) + 1):xtic(1) with boxes linecolor variable, "" using 0:2:($2 < 1000 ? sprintf("%%.3g", $2) : sprintf("%%.0f", $2)) with labels offset 0, 0.7\n' "$work/$panel"
        panel=$((panel + 1))
    done
    echo 'unset multiplot'
} > "$work/plot.gp"
gnuplot "$work/plot.gp"
