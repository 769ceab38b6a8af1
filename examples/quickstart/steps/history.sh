# Needs a cache that only a second try finds: the first one makes it and asks to be tried again.
set -eu
run=$1 pace=$2
folder=${TMPDIR:-/tmp}/unknot-quickstart-$(id -u)
cache=$folder/$run
mkdir -p "$folder"
find "$folder" -type f -mmin +60 -exec rm -f {} +
if [ ! -e "$cache" ]; then
    echo "the cache is cold; warming it and asking for another try"
    date > "$cache"
    sleep "$pace"
    exit 75
fi
echo "the cache was warmed at $(cat "$cache")"
rm -f "$cache"
sleep "$pace"
printf '{"tries": 2}\n'
