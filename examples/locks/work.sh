# What must not be done by two at once.
began=$(date +%s%3N)
sleep "$PACE"
echo "{\"began\": $began, \"ended\": $(date +%s%3N)}" > "$UNKNOT_OUTPUT"
