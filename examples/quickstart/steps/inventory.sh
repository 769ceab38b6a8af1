# Counts the files of the tree below $1, by what they are.
set -eu
root=$1 pace=$2
sleep "$pace"
list=$(find "$root" \( -name target -o -name .git -o -name .unknot -o -name node_modules \) -prune -o -type f -print)
count() { printf '%s\n' "$list" | grep -c "$1" || true; }
files=$(printf '%s\n' "$list" | grep -c . || true)
rust=$(count '\.rs$')
docs=$(count '\.md$')
echo "found $files files below $root: $rust of Rust, $docs of documentation"
printf '{"files": %d, "rust": %d, "docs": %d}\n' "$files" "$rust" "$docs"
