//! What people are shown of a configuration whose lines may hold secrets.

/// Keys behind which a secret stands.
const SECRETS: [&str; 2] = ["secret", "routing_key"];
/// Keys behind which an address stands: of it, scheme and host are shown.
const ADDRESSES: [&str; 4] = ["url", "alert_webhook", "redis", "base_url"];

/// The same text with everything unreadable that may be secret: as many bytes, line for line. Rather too much than too
/// little, since the text may not even be sound.
pub(super) fn masked(text: &str) -> String {
    text.split_inclusive('\n').map(line).collect()
}

fn line(line: &str) -> String {
    let mut bytes = line.as_bytes().to_vec();
    for (key, keeps_host) in SECRETS.map(|key| (key, false)).into_iter().chain(ADDRESSES.map(|key| (key, true))) {
        for at in values_of(line, key) {
            let value = &line[at..];
            let end = at + value_len(value);
            let kept = if keeps_host { shown_len(value) } else { 0 };
            cover(&mut bytes[(at + kept).min(end)..end]);
        }
    }
    // Addresses behind other keys, or none.
    for (at, _) in line.match_indices("://") {
        let begin = line[..at].rfind(|letter: char| !letter.is_ascii_alphanumeric()).map_or(0, |before| before + 1);
        let end = begin + line[begin..].find([' ', '\t', '"', '\'', '\n', '\r']).unwrap_or(line.len() - begin);
        let shown = begin + shown_len(&line[begin..]);
        cover(&mut bytes[shown.min(end)..end]);
    }
    // Whole letters are covered, from one boundary to another.
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(line.len()))
}

/// Where the values behind a key begin.
fn values_of<'l>(line: &'l str, key: &'l str) -> impl Iterator<Item = usize> + 'l {
    line.match_indices(key).filter_map(move |(at, _)| {
        let is_whole = !line[..at].ends_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
        let behind = line[at + key.len()..].trim_start_matches(['"', '\'']).trim_start();
        let value = behind.strip_prefix(':').filter(|value| is_whole && !value.starts_with("//"))?;
        let value = value.trim_start_matches([' ', '\t']);
        Some(line.len() - value.len())
    })
}

/// How long a value may be: to its closing quote, else to the end of the line.
fn value_len(value: &str) -> usize {
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    let closed = quote.and_then(|quote| value[1..].rfind(quote)).map(|end| end + 1);
    closed.unwrap_or_else(|| value.trim_end_matches(['\n', '\r']).len())
}

/// How much of an address is shown: up to its path, if it names nobody before its host.
fn shown_len(value: &str) -> usize {
    let Some((scheme, rest)) = value.split_once("://").filter(|(scheme, _)| scheme.len() <= 10) else { return 0 };
    let host =
        rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | ':' | '[' | ']')));
    let end = scheme.len() + 3 + host.unwrap_or(rest.len());
    if value[end..].starts_with('@') { scheme.len() + 3 } else { end }
}

fn cover(bytes: &mut [u8]) {
    bytes.fill(b'*');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_covered() {
        for (text, shown) in [
            ("    secret: abc, def\n", "    secret: ********\n"),
            ("ops: {routing_key: \"abc\", severity: error}", "ops: {routing_key: ****\", severity: error}"),
            ("url_env: OPS_URL\n", "url_env: OPS_URL\n"),
            ("secret_env: OPS\n", "secret_env: OPS\n"),
            ("url: https://h.example.org/services/T0/b\n", "url: https://h.example.org**************\n"),
            ("\"alert_webhook\": \"h.example.org/x\",\n", "\"alert_webhook\": ****************\",\n"),
            ("{url: 'http://h:1/x', kind: slack}", "{url: 'http://h:1**', kind: slack}"),
            ("redis: redis://:word@localhost\r\n", "redis: redis://***************\r\n"),
            ("other: x://host?key=1 # y\n", "other: x://host****** # y\n"),
            ("secret: ün\n", "secret: ***\n"),
            ("listen: 127.0.0.1:8001", "listen: 127.0.0.1:8001"),
        ] {
            assert_eq!(masked(text), shown);
            assert_eq!(masked(text).len(), text.len());
        }
    }
}
