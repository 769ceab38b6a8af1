# Draws the crates in $CRATES (name:lines …) as bars, into an SVG among this task's artifacts.
set -eu
size=$1 pace=$2
[ "$size" = large ] && steps=400 || steps=1
sleep "$pace"
svg=$UNKNOT_ARTIFACTS/poster.svg
echo "drawing the $size poster into $svg"
printf '%s\n' "$CRATES" | tr ' ' '\n' | awk -F: -v steps="$steps" '
    { name[NR] = $1; lines[NR] = $2; if ($2 > most) most = $2 }
    END {
        printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" height=\"%d\" font-family=\"sans-serif\" font-size=\"14\">\n", NR * 30 + 10
        for (i = 1; i <= NR; i++) {
            y = i * 30 - 20; width = most ? int(440 * lines[i] / most) : 0
            printf "<text x=\"0\" y=\"%d\">%s</text>\n", y + 15, name[i]
            # The large poster shades each bar in many steps, which is why it does not fit.
            for (s = 0; s < steps; s++)
                printf "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"20\" fill=\"#3a6ea5\"/>\n", 100 + width * s / steps, y, width / steps
            printf "<text x=\"%d\" y=\"%d\" fill=\"#555\">%d</text>\n", width + 110, y + 15, lines[i]
        }
        print "</svg>"
    }' > "$svg"
printf '{"svg": "%s"}\n' "$svg"
