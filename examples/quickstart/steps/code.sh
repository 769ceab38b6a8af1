# Lines of Rust in each crate below $1, the largest first.
set -eu
root=$1 pace=$2
crates=
total=0
for folder in "$root"/crates/* "$root"/xtask; do
    [ -d "$folder" ] || continue
    name=${folder##*/}
    lines=$(find "$folder" -name target -prune -o -name '*.rs' -exec cat {} + | wc -l)
    echo "$name: $lines lines"
    crates="$crates$name:$((lines)) "
    total=$((total + lines))
done
sleep "$pace"
crates=$(printf '%s' "$crates" | tr ' ' '\n' | sort -t: -k2 -rn | tr '\n' ' ')
printf '{"lines": %d, "crates": "%s"}\n' "$total" "${crates% }"
