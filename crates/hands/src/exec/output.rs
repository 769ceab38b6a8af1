//! The output of a task: the last line of its stdout that is a JSON object, or the file that `UNKNOT_OUTPUT` names.

use std::path::Path;

use unknot_api::work::{JsonText, OUTPUT_BYTES_MAX};

use super::OUTPUT_FILE;
use crate::files;

/// Nesting up to here is known to be accepted by everybody.
const NESTING_SAFE: usize = 100;

/// Reads stdout as it comes and remembers the last JSON object; holds two lines at most.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    line: Vec<u8>,
    /// The bytes of the current line, also those that are no longer kept.
    line_bytes: usize,
    last_byte: u8,
    found: Found,
}

/// What stdout has given so far.
#[derive(Debug, Default, PartialEq)]
pub(crate) enum Found {
    #[default]
    Nothing,
    Object(JsonText),
    /// The last line that looks like an object is longer than an output may be.
    TooLong {
        bytes: usize,
    },
}

impl Scanner {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            self.extend(text);
            if ends {
                self.end_line();
            }
        }
    }

    /// The result; a last line without its end counts.
    pub(crate) fn finish(mut self) -> Found {
        self.end_line();
        self.found
    }

    fn extend(&mut self, text: &[u8]) {
        let room = (OUTPUT_BYTES_MAX + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&text[..text.len().min(room)]);
        self.line_bytes += text.len();
        if let Some(last) = text.trim_ascii_end().last() {
            self.last_byte = *last;
        }
    }

    fn end_line(&mut self) {
        let text = self.line.trim_ascii();
        if self.last_byte == b'}' && text.starts_with(b"{") {
            if self.line_bytes > OUTPUT_BYTES_MAX {
                // Too long to keep is too long to check: what begins like an object with a key is taken for one.
                if text[1..].trim_ascii_start().starts_with(b"\"") {
                    self.found = Found::TooLong { bytes: self.line_bytes };
                }
            } else if let Some(object) = parse(text) {
                self.found = Found::Object(object);
            }
        }
        self.line.clear();
        self.line_bytes = 0;
        self.last_byte = 0;
    }
}

fn parse(text: &[u8]) -> Option<JsonText> {
    check(str::from_utf8(text).ok()?).ok()
}

/// Whoever reads the output later parses it into values, which has a bound on nesting; so that is checked here. A text
/// with few brackets cannot be nested deeply, and building its values is saved.
fn check(text: &str) -> Result<JsonText, serde_json::Error> {
    let brackets = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if brackets >= NESTING_SAFE {
        serde_json::from_str::<serde_json::Value>(text)?;
    }
    JsonText::parse(text)
}

/// Decides the output of a task that has succeeded. Reads a file in its folder: for a thread that may wait.
///
/// # Errors
///
/// A text for a person that names `UNKNOT_OUTPUT`.
pub(crate) fn decide(folder: &Path, found: Found) -> Result<JsonText, String> {
    match read(folder)? {
        Some(output) => Ok(output),
        None => match found {
            Found::Nothing => Ok(JsonText::null()),
            Found::Object(object) => Ok(object),
            Found::TooLong { bytes } => Err(format!(
                "the last JSON line of stdout has {bytes} bytes, more than {OUTPUT_BYTES_MAX}; print less, or write \
                 large results to files in `UNKNOT_ARTIFACTS` and a short output to the file named by `UNKNOT_OUTPUT`"
            )),
        },
    }
}

fn read(folder: &Path) -> Result<Option<JsonText>, String> {
    let failed = |why: String| format!("the output file (`UNKNOT_OUTPUT`) {why}");
    let read = files::read(folder, OUTPUT_FILE, OUTPUT_BYTES_MAX);
    let Some(bytes) = read.map_err(|error| failed(format!("cannot be read: {error}")))? else { return Ok(None) };
    if bytes.len() > OUTPUT_BYTES_MAX {
        return Err(failed(format!(
            "is longer than {OUTPUT_BYTES_MAX} bytes; put large results in `UNKNOT_ARTIFACTS`"
        )));
    }
    let text = str::from_utf8(&bytes).map_err(|error| failed(format!("is not UTF-8: {error}")))?;
    check(text).map(Some).map_err(|error| failed(format!("is not valid JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &[u8]) -> Found {
        let mut whole = Scanner::default();
        whole.push(text);
        let mut pieces = Scanner::default();
        text.chunks(3).for_each(|piece| pieces.push(piece));
        let (whole, pieces) = (whole.finish(), pieces.finish());
        assert!(whole == pieces, "how output is cut does not matter");
        whole
    }

    fn object(text: &str) -> Found {
        Found::Object(JsonText::parse(text).unwrap())
    }

    #[test]
    fn the_last_object_counts() {
        assert_eq!(scan(b""), Found::Nothing);
        assert_eq!(scan(b"hello\n[1]\n3\n\"x\"\nnull\n"), Found::Nothing);
        assert_eq!(scan(b"{\"a\":1}\n{\"a\":2}\nbye\n"), object("{\"a\":2}"));
        assert_eq!(scan(b"{\"a\":1}\n{broken}\n"), object("{\"a\":1}"));
        assert_eq!(scan(b" {\"a\":1} \r\n"), object("{\"a\":1}"));
        assert_eq!(scan(b"{\"a\":1}"), object("{\"a\":1}"), "a missing line end");
        assert_eq!(scan(b"{\"a\":\"\xff\"}\n"), Found::Nothing, "invalid UTF-8 is no JSON");
    }

    #[test]
    fn deep_nesting_is_no_output() {
        let deep = format!("{{\"a\":{}{}}}\n", "[".repeat(10_000), "]".repeat(10_000));
        assert!(scan(deep.as_bytes()) == Found::Nothing);
        let wide = format!("{{\"a\":[{}[]]}}\n", "[],".repeat(10_000));
        assert!(scan(wide.as_bytes()) == object(wide.trim()));
    }

    #[test]
    fn a_long_object_is_told() {
        let exact = format!("{{\"a\":\"{}\"}}", "x".repeat(OUTPUT_BYTES_MAX - 8));
        assert_eq!(exact.len(), OUTPUT_BYTES_MAX);
        assert_eq!(scan(exact.as_bytes()), object(&exact));
        let longer = format!("{{\"a\":\"{}\"}}\n", "x".repeat(OUTPUT_BYTES_MAX - 7));
        assert_eq!(scan(longer.as_bytes()), Found::TooLong { bytes: OUTPUT_BYTES_MAX + 1 });
        assert_eq!(scan(format!("{longer}{{\"b\":1}}\n").as_bytes()), object("{\"b\":1}"), "a later one wins");
        let noise = format!("{{{}}}\n", "x".repeat(OUTPUT_BYTES_MAX));
        assert_eq!(scan(noise.as_bytes()), Found::Nothing);
    }

    #[test]
    fn the_file_wins_and_must_be_sound() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, file) = (folder.path(), folder.path().join(OUTPUT_FILE));
        assert_eq!(decide(folder, object("{\"a\":1}")).unwrap(), JsonText::parse("{\"a\":1}").unwrap());
        for (text, fails_with) in [("[1, 2]", None), ("", Some("not valid JSON")), ("{", Some("not valid JSON"))] {
            std::fs::write(&file, text).unwrap();
            match (decide(folder, Found::Nothing), fails_with) {
                (Ok(output), None) => assert_eq!(output.as_str(), text),
                (Err(message), Some(part)) => assert!(message.contains(part), "{message}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
        std::fs::write(&file, vec![b' '; OUTPUT_BYTES_MAX + 1]).unwrap();
        assert!(decide(folder, Found::Nothing).unwrap_err().contains("UNKNOT_OUTPUT"));
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
        assert!(decide(folder, Found::Nothing).unwrap_err().contains("not a regular file"));
    }
}
