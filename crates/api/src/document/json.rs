//! JSON (RFC 8259) to the tree: strict, in one pass, about twice as fast as the YAML reader.

use super::{DEPTH_MAX, Entry, LoadError, NODES_MAX, Node, Scalar, ScalarKind, Value, check_keys};
use crate::{report::Code, source::Span};
use std::borrow::Cow;

pub(super) fn load(text: &str) -> Result<Node<'_>, LoadError> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, nodes: 0 };
    reader.skip_space();
    let root = reader.value(0)?;
    reader.skip_space();
    match reader.bytes.get(reader.at) {
        None => Ok(root),
        Some(_) => Err(reader.unexpected("the end of the file")),
    }
}

struct Reader<'s> {
    text: &'s str,
    bytes: &'s [u8],
    at: usize,
    nodes: usize,
}

impl<'s> Reader<'s> {
    /// Reads one value; recursion is bounded by [`DEPTH_MAX`].
    fn value(&mut self, depth: usize) -> Result<Node<'s>, LoadError> {
        let start = self.at;
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(LoadError::too_many(self.here(1)));
        }
        let value = match self.bytes.get(start) {
            Some(b'{' | b'[') if depth == DEPTH_MAX => return Err(LoadError::too_deep(self.here(1))),
            Some(b'{') => Value::Map(self.map(depth)?),
            Some(b'[') => Value::List(self.list(depth)?),
            Some(b'"') => Value::Scalar(Scalar::text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", ScalarKind::True)?,
            Some(b'f') => self.word("false", ScalarKind::False)?,
            Some(b'n') => self.word("null", ScalarKind::Null)?,
            _ => return Err(self.unexpected("a value")),
        };
        let end = match value {
            Value::Scalar(_) => self.at,
            _ => start + 1,
        };
        Ok(Node { span: span(start, end), value })
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry<'s>>, LoadError> {
        let mut entries = Vec::new();
        self.at += 1;
        self.skip_space();
        while !self.take(b'}') {
            if !entries.is_empty() {
                self.expect(b',', "`,` or `}`")?;
                self.skip_space();
            }
            let start = self.at;
            if self.bytes.get(start) != Some(&b'"') {
                return Err(self.unexpected("a key in double quotes"));
            }
            let key = self.string()?;
            let key_span = span(start, self.at);
            self.skip_space();
            self.expect(b':', "`:` behind the key")?;
            self.skip_space();
            let node = self.value(depth + 1)?;
            entries.push(Entry { key, key_span, node });
            self.skip_space();
        }
        check_keys(&entries)?;
        Ok(entries)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node<'s>>, LoadError> {
        let mut items = Vec::new();
        self.at += 1;
        self.skip_space();
        while !self.take(b']') {
            if !items.is_empty() {
                self.expect(b',', "`,` or `]`")?;
                self.skip_space();
            }
            items.push(self.value(depth + 1)?);
            self.skip_space();
        }
        Ok(items)
    }

    /// A string, borrowed unless it has escapes.
    fn string(&mut self) -> Result<Cow<'s, str>, LoadError> {
        let open = self.at;
        self.at += 1;
        let mut owned: Option<String> = None;
        let mut copied = self.at;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let rest = &self.text[copied..self.at];
                    self.at += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(rest),
                        Some(text) => Cow::Owned(text + rest),
                    });
                }
                Some(b'\\') => {
                    let mut text = owned.take().unwrap_or_default();
                    text.push_str(&self.text[copied..self.at]);
                    text.push(self.escape()?);
                    copied = self.at;
                    owned = Some(text);
                }
                Some(0..=0x1F) => {
                    return Err(LoadError::new(Code::Syntax, self.here(1), "a control character inside a string")
                        .help("write it as an escape such as `\\n` or `\\t`"));
                }
                Some(_) => self.at += 1,
                None => {
                    return Err(LoadError::new(Code::Syntax, span(open, open + 1), "the string has no closing quote"));
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, LoadError> {
        let escape = self.bytes.get(self.at + 1).copied();
        self.at += 2;
        Ok(match escape {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => {
                self.at -= 2;
                return Err(LoadError::new(Code::Syntax, self.here(2), "unknown escape in a string")
                    .expected("one of `\\\"`, `\\\\`, `\\/`, `\\b`, `\\f`, `\\n`, `\\r`, `\\t`, `\\u0041`"));
            }
        })
    }

    /// `\uXXXX`, or two of them for one character beyond 16 bits.
    fn unicode(&mut self) -> Result<char, LoadError> {
        let first = self.hex()?;
        let code = match first {
            0xD800..=0xDBFF if self.bytes[self.at..].starts_with(b"\\u") => {
                self.at += 2;
                match self.hex()? {
                    second @ 0xDC00..=0xDFFF => 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00),
                    _ => first,
                }
            }
            _ => first,
        };
        char::from_u32(code).ok_or_else(|| {
            LoadError::new(Code::Syntax, self.here(0), "half of a surrogate pair in a string")
                .expected("both halves, `\\uD83D\\uDE00`")
        })
    }

    fn hex(&mut self) -> Result<u32, LoadError> {
        let digits = self.bytes.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else {
            return Err(LoadError::new(Code::Syntax, self.here(1), "`\\u` needs four hexadecimal digits"));
        };
        self.at += 4;
        Ok(digits.iter().fold(0, |code, &digit| code * 16 + (digit as char).to_digit(16).unwrap_or_default()))
    }

    fn number(&mut self) -> Result<Value<'s>, LoadError> {
        let start = self.at;
        let end = start
            + self.bytes[start..]
                .iter()
                .take_while(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
                .count();
        let text = &self.text[start..end];
        if serde_json::from_str::<serde_json::Number>(text).is_err() && !is_huge(text) {
            return Err(LoadError::new(
                Code::Syntax,
                span(start, end),
                format!("`{}` is no number", crate::shape::clip(text)),
            ));
        }
        self.at = end;
        Ok(Value::Scalar(Scalar { kind: ScalarKind::Number, text: Cow::Borrowed(text) }))
    }

    fn word(&mut self, word: &'static str, kind: ScalarKind) -> Result<Value<'s>, LoadError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        Ok(Value::Scalar(Scalar { kind, text: Cow::Borrowed(word) }))
    }

    fn skip_space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, expected: &str) -> Result<(), LoadError> {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn unexpected(&self, expected: &str) -> LoadError {
        let found = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        let message = match found {
            None => "the file ends too early".to_owned(),
            Some(letter) if letter.is_control() => format!("unexpected character {:#06X}", letter as u32),
            Some(letter) => format!("unexpected `{letter}`"),
        };
        let error = LoadError::new(Code::Syntax, self.here(1), message).expected(expected);
        match found {
            Some('/' | '#') => error.help("JSON has no comments; call the file `.yaml` to write some"),
            Some('\'') => error.help("JSON quotes with `\"`"),
            Some('}' | ']') => error.help("JSON allows no comma behind the last entry"),
            _ => error,
        }
    }

    fn here(&self, length: usize) -> Span {
        span(self.at, self.at + length)
    }
}

/// A number that no machine number holds; whoever wants a number will say so.
fn is_huge(text: &str) -> bool {
    let is_number = |text: &str| serde_json::from_str::<serde_json::Number>(text).is_ok();
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            all_digits(exponent) && (is_number(mantissa) || is_huge(mantissa))
        }
        None => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
            all_digits(whole) && all_digits(part) && !whole.starts_with('0')
        }
    }
}

fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}
