//! What readers of JSON and of queries say of a value, without the types of this program.

/// How a reader's message goes on where it says what it expected.
const EXPECTED: &str = ", expected ";

/// The same sentence with what was expected in the words of the format.
pub fn in_plain_words(message: &str) -> String {
    // The last one: what stands before it may be quoted from what was read.
    let Some((before, expected)) = message.rsplit_once(EXPECTED) else { return message.to_owned() };
    let (theirs, place) = match expected.split_once(" at line ") {
        Some((theirs, place)) => (theirs, format!(" at line {place}")),
        None => (expected, String::new()),
    };
    let ours = match theirs {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 to 18446744073709551615",
        "i64" => "a whole number from -9223372036854775808 to 9223372036854775807",
        "f64" => "a number",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "a map" => "an object",
        theirs if theirs.starts_with("struct ") => "an object",
        theirs => theirs,
    };
    format!("{before}{EXPECTED}{ours}{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_types_are_said_in_plain_words() {
        for (theirs, ours) in [
            (
                "invalid type: string \"a\", expected u32 at line 1 column 9",
                "invalid type: string \"a\", expected a whole number from 0 to 4294967295 at line 1 column 9",
            ),
            (
                "invalid type: string \", expected u8\", expected a sequence",
                "invalid type: string \", expected u8\", expected a list",
            ),
            ("invalid type: integer `1`, expected struct Wish", "invalid type: integer `1`, expected an object"),
            ("unknown field `b`, expected `a`", "unknown field `b`, expected `a`"),
            ("missing field `a`", "missing field `a`"),
        ] {
            assert_eq!(in_plain_words(theirs), ours);
        }
    }
}
