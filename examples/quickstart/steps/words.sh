# Words of documentation below $1.
set -eu
root=$1 pace=$2
sleep "$pace"
words=$(find "$root" \( -name target -o -name .git -o -name .unknot \) -prune -o -name '*.md' -exec cat {} + | wc -w)
echo "$((words)) words of documentation"
sleep "$pace"
printf '{"words": %d}\n' "$words"
