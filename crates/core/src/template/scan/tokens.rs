//! The words of an expression: where it ends, and what it is made of, within bounds.

use super::super::{TemplateError, TemplateErrorKind as Kind};
use crate::validate::clip;

/// Deepest nesting of brackets in an expression.
const NESTING_MAX: usize = 24;
/// Most tokens in one expression.
const TOKENS_MAX: usize = 250;

/// Where an expression ends.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    /// At `}}` outside of all brackets.
    Braces,
    /// With the source.
    Source,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part<'s> {
    Word(&'s str),
    Number,
    /// The text between quotes, escapes as they are.
    Quoted(&'s str),
    Symbol(char),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'s> {
    pub(super) is: Part<'s>,
    /// Byte offset.
    pub(super) at: usize,
    /// Byte offset behind it.
    pub(super) end: usize,
}

pub(super) struct Tokens<'s> {
    pub(super) list: Vec<Token<'s>>,
    /// Byte offset where the expression ends.
    pub(super) end: usize,
}

pub(super) fn tokens(source: &str, ending: End) -> Result<Tokens<'_>, TemplateError> {
    let bytes = source.as_bytes();
    let mut list = Vec::new();
    let mut open = Vec::new();
    let mut at = 0;
    loop {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        let Some(&first) = bytes.get(at) else {
            if ending == End::Source && open.is_empty() {
                return Ok(Tokens { list, end: at });
            }
            let missing = open.pop().map_or("}}".to_owned(), |bracket| closing(bracket).to_string());
            return Err(TemplateError::new(Kind::Syntax, format!("the expression ends before its `{missing}`")));
        };
        if ending == End::Braces && open.is_empty() && source[at..].starts_with("}}") {
            return Ok(Tokens { list, end: at });
        }
        let token = match first {
            b'"' | b'\'' => quoted(source, at)?,
            b'0'..=b'9' => number(source, at),
            byte if is_word(byte) => word(source, at),
            _ => symbol(source, at, &mut open)?,
        };
        at = token.end;
        list.push(token);
        if list.len() > TOKENS_MAX {
            let message = format!("an expression of more than {TOKENS_MAX} parts");
            return Err(TemplateError::new(Kind::TooLarge, message).help("prepare the value in a task of its own"));
        }
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn word(source: &str, at: usize) -> Token<'_> {
    let length = source[at..].bytes().take_while(|&byte| is_word(byte)).count();
    Token { is: Part::Word(&source[at..at + length]), at, end: at + length }
}

fn number(source: &str, at: usize) -> Token<'_> {
    let bytes = source.as_bytes();
    let digits = |from: usize| from + bytes[from..].iter().take_while(|&&byte| is_word(byte)).count();
    let mut end = digits(at);
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end = digits(end + 1);
    }
    Token { is: Part::Number, at, end }
}

fn quoted(source: &str, at: usize) -> Result<Token<'_>, TemplateError> {
    let bytes = source.as_bytes();
    let mut end = at + 1;
    while let Some(&byte) = bytes.get(end) {
        if byte == bytes[at] {
            return Ok(Token { is: Part::Quoted(&source[at + 1..end]), at, end: end + 1 });
        }
        end += if byte == b'\\' { 2 } else { 1 };
    }
    Err(TemplateError::new(
        Kind::Syntax,
        format!("the string `{}` has no closing quote", clip(source[at..].trim_end())),
    ))
}

fn symbol<'s>(source: &'s str, at: usize, open: &mut Vec<char>) -> Result<Token<'s>, TemplateError> {
    let symbol = source[at..].chars().next().unwrap_or_default();
    match symbol {
        '(' | '[' | '{' => {
            open.push(symbol);
            if open.len() > NESTING_MAX {
                let message = format!("brackets nested deeper than {NESTING_MAX}");
                return Err(TemplateError::new(Kind::TooLarge, message));
            }
        }
        ')' | ']' | '}' => match open.pop() {
            Some(bracket) if closing(bracket) == symbol => {}
            Some(bracket) => {
                let message = format!("`{bracket}` is not closed before `{symbol}`");
                return Err(TemplateError::new(Kind::Syntax, message));
            }
            None => return Err(TemplateError::new(Kind::Syntax, format!("`{symbol}` closes nothing"))),
        },
        '.' | ',' | ':' | '|' | '~' | '+' | '-' | '*' | '/' | '%' | '=' | '!' | '<' | '>' => {}
        _ => {
            let message = format!("`{}` has no meaning in an expression", symbol.escape_debug());
            return Err(TemplateError::new(Kind::Syntax, message));
        }
    }
    Ok(Token { is: Part::Symbol(symbol), at, end: at + symbol.len_utf8() })
}

const fn closing(bracket: char) -> char {
    match bracket {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}
