//! A Rust file taken apart: code, comments, and which lines are there for tests only.
//!
//! Rules search words in code without meeting them in a string or a comment, and the other way
//! round. The lexer knows comments, strings and characters; it needs no more of the language.

use std::ops::Range;

/// One Rust file. The parts have the length and the line breaks of the text, so that an offset
/// means the same place in each.
pub(super) struct Source {
    /// Relative to the root.
    pub path: String,
    /// As it stands in the file.
    pub text: String,
    /// Without comments and without the insides of literals.
    pub code: String,
    /// Comments alone.
    pub comments: String,
    /// Whether the file is part of a crate's library or binary, and not of its tests or benches.
    pub is_product: bool,
    /// Offsets of the items under `#[cfg(test)]`.
    test_items: Vec<Range<usize>>,
}

impl Source {
    /// Takes `text` apart.
    pub(super) fn new(path: &str, text: String) -> Self {
        let (code, comments) = split(&text);
        let test_items = test_items(&code);
        Self { path: path.to_owned(), text, code, comments, is_product: !is_test_file(path), test_items }
    }

    /// The line, from 1, of a byte offset.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        line_count(&self.text[..offset]) + 1
    }

    /// Whether the code at `offset` is compiled for tests only.
    pub(super) fn is_test(&self, offset: usize) -> bool {
        !self.is_product || self.test_items.iter().any(|item| item.contains(&offset))
    }

    /// Lines of the file that are not test code.
    pub(super) fn product_lines(&self) -> usize {
        if !self.is_product {
            return 0;
        }
        let tests: usize = self.test_items.iter().map(|item| line_count(&self.text[item.clone()]) + 1).sum();
        self.text.lines().count().saturating_sub(tests)
    }
}

/// The offset just behind the bracket that closes the one at `open`; the end if none does.
pub(super) fn behind_bracket(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return offset + 1;
        }
    }
    code.len()
}

/// Where the body of the item that starts at `start` opens; none if the item ends with `;`.
pub(super) fn body_of(code: &str, start: usize) -> Option<usize> {
    let mut offset = start;
    while let Some(&byte) = code.as_bytes().get(offset) {
        match byte {
            b'{' => return Some(offset),
            b';' => return None,
            b'(' | b'[' => offset = behind_bracket(code, offset),
            _ => offset += 1,
        }
    }
    None
}

fn line_count(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'\n').count()
}

fn is_test_file(path: &str) -> bool {
    let in_folder = |name: &str| path.split('/').rev().skip(1).any(|part| part == name);
    in_folder("tests") || in_folder("benches") || path.ends_with("/tests.rs")
}

fn test_items(code: &str) -> Vec<Range<usize>> {
    let items = code.match_indices("#[cfg(test)]").map(|(start, attribute)| {
        let end = match body_of(code, start + attribute.len() + following_attributes(&code[start + attribute.len()..]))
        {
            Some(body) => behind_bracket(code, body),
            None => code[start..].find(';').map_or(code.len(), |length| start + length + 1),
        };
        start..end
    });
    items.collect()
}

/// The length of the white space and attributes that `code` starts with.
fn following_attributes(code: &str) -> usize {
    let mut length = code.len() - code.trim_start().len();
    while code[length..].starts_with("#[") {
        length = behind_bracket(code, length + 1);
        length += code[length..].len() - code[length..].trim_start().len();
    }
    length
}

/// What a stretch of a Rust text is.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Code,
    Comment,
    /// The inside of a string or character.
    Literal,
}

fn split(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::with_capacity(text.len()), String::with_capacity(text.len()));
    let mut rest = text;
    while !rest.is_empty() {
        for (length, part) in next_parts(rest, code.bytes().last()) {
            let (stretch, behind) = rest.split_at(length);
            push(&mut code, stretch, part == Part::Code);
            push(&mut comments, stretch, part == Part::Comment);
            rest = behind;
        }
    }
    (code, comments)
}

/// Appends `stretch`, or as many spaces and line breaks in its place.
fn push(target: &mut String, stretch: &str, keep: bool) {
    if keep {
        target.push_str(stretch);
    } else {
        target.extend(stretch.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
    }
}

/// The parts that `text` starts with, by length; `before` is the code byte in front of it.
fn next_parts(text: &str, before: Option<u8>) -> Vec<(usize, Part)> {
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if text.starts_with("//") {
        return vec![(text.find('\n').unwrap_or(text.len()), Part::Comment)];
    }
    if text.starts_with("/*") {
        return vec![(block_comment(text), Part::Comment)];
    }
    if let Some(behind) = text.strip_prefix('"') {
        return quoted(1, string_inside(behind), 1, text.len());
    }
    if text.starts_with('r') && (!in_word || matches!(before, Some(b'b' | b'c'))) {
        let hashes = text[1..].len() - text[1..].trim_start_matches('#').len();
        if text[1 + hashes..].starts_with('"') {
            let open = hashes + 2;
            let close = format!("\"{}", "#".repeat(hashes));
            let inside = text[open..].find(&close).unwrap_or(text.len() - open);
            return quoted(open, inside, close.len(), text.len());
        }
    }
    if let Some(inside) = text.strip_prefix('\'').and_then(character_inside) {
        return quoted(1, inside, 1, text.len());
    }
    vec![(text.chars().next().map_or(0, char::len_utf8), Part::Code)]
}

fn quoted(open: usize, inside: usize, close: usize, end: usize) -> Vec<(usize, Part)> {
    vec![(open, Part::Code), (inside, Part::Literal), (close.min(end - open - inside), Part::Code)]
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut offset = 0;
    while offset < text.len() {
        let step = match text.as_bytes().get(offset..offset + 2) {
            Some(b"/*") => {
                depth += 1;
                2
            }
            Some(b"*/") => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        offset += step;
        if depth == 0 {
            break;
        }
    }
    offset.min(text.len())
}

/// The length of a string's inside up to its closing quote.
fn string_inside(text: &str) -> usize {
    let mut escaped = false;
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return offset,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character's inside, if what follows a `'` is one and not a lifetime.
fn character_inside(text: &str) -> Option<usize> {
    if let Some(escape) = text.strip_prefix('\\') {
        let first = escape.chars().next()?.len_utf8();
        return Some(1 + first + escape[first..].find('\'')?);
    }
    let length = text.chars().next()?.len_utf8();
    text[length..].starts_with('\'').then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("a.rs", text.to_owned()).code
    }

    #[test]
    fn comments_and_the_insides_of_literals_leave_the_code() {
        assert_eq!(code("a // b\nc"), "a     \nc");
        assert_eq!(code("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(code(r#"f("// x \" y", 'z')"#), r#"f("         ", ' ')"#);
        assert_eq!(code(r##"f(r#"a " // b"#, br"c\")"##), r##"f(r#"        "#, br"  ")"##);
        assert_eq!(code(r"f('\'', '\u{1F600}', b'\\')"), r"f('  ', '         ', b'  ')");
        assert_eq!(code("fn f<'a>(x: &'a str) -> r#type { 'x' }"), "fn f<'a>(x: &'a str) -> r#type { ' ' }");
    }

    #[test]
    fn parts_keep_their_places_with_any_letters() {
        let text = "let größe = \"é\"; // ü\nend";
        let source = Source::new("a.rs", text.to_owned());
        assert_eq!((source.code.len(), source.comments.len()), (text.len(), text.len()));
        assert_eq!(source.comments.trim(), "// ü");
        assert_eq!(source.line_of(text.find("end").unwrap()), 2);
    }

    #[test]
    fn unfinished_texts_do_not_confuse_the_lexer() {
        for text in ["\"open", "/* open", "'", "'\\", "r#\"open", "r", "\"\\", "b'", "//"] {
            assert_eq!(code(text).len(), text.len(), "{text}");
        }
    }

    #[test]
    fn items_for_tests_are_known() {
        let text = "fn a() {}\n#[cfg(test)]\n#[path = \"x\"]\nmod tests {\n    fn b() {}\n}\n#[cfg(test)]\nuse c;\nfn d() {}\n";
        let source = Source::new("src/a.rs", text.to_owned());
        let is_test = |word: &str| source.is_test(text.find(word).unwrap());
        assert_eq!([is_test("fn a"), is_test("fn b"), is_test("use c"), is_test("fn d")], [false, true, true, false]);
        assert_eq!(source.product_lines(), 2);
    }

    #[test]
    fn files_for_tests_are_known() {
        for (path, product) in
            [("crates/a/src/tests.rs", false), ("crates/a/tests/b.rs", false), ("src/tests_of.rs", true)]
        {
            assert_eq!(Source::new(path, String::new()).is_product, product, "{path}");
        }
    }
}
