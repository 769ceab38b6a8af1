# Puts everything on one page, to be opened in a browser.
set -eu
page=$UNKNOT_ARTIFACTS/report.html
{
    echo '<!doctype html><meta charset="utf-8"><title>Portrait of a repository</title>'
    echo '<body style="font-family:sans-serif;max-width:42em;margin:3em auto;line-height:1.5">'
    echo '<h1>Portrait of a repository</h1>'
    echo "<p><b>$FILES</b> files, <b>$LINES</b> lines of Rust, <b>$WORDS</b> words of documentation.</p>"
    echo '<h2>Lines by crate</h2>'
    cat "$POSTER"
    echo "<p style=\"color:#777\">The history step needed $TRIES tries, and the poster its fallback: both on purpose.</p>"
} > "$page"
echo "open $page in a browser"
printf '{"page": "%s"}\n' "$page"
