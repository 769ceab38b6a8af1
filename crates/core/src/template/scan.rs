//! Reads templates before the library does: where expressions begin and end, what they name, and
//! every form that is refused.
//!
//! The library's parser recurses and its language is larger than ours, so nothing reaches it that
//! this scan has not bounded: how long and how deep an expression is, no calls, no methods, no
//! tuples, and no `*` inside a list, which could build lists of lists far larger than the fuel
//! that they cost.

mod tokens;

use super::{SOURCE_MAX, TemplateError, TemplateErrorKind as Kind, filters};
use crate::validate::{clip, nearest};
use std::borrow::Cow;
use tokens::{End, Part, Token, Tokens, tokens};

/// What templates see at the top.
const ROOTS: [&str; 4] = ["input", "item", "run", "tasks"];
/// Words of the language that are not names.
const KEYWORDS: [&str; 13] =
    ["and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None"];

/// A part of a template.
#[derive(Debug)]
pub(super) enum Piece<'s> {
    /// Text that stands for itself.
    Text(&'s str),
    /// What stood between braces.
    Expression(Expression<'s>),
}

/// An expression that is safe to give to the library.
#[derive(Debug)]
pub(super) struct Expression<'s> {
    pub(super) source: &'s str,
    pub(super) names: Vec<Name<'s>>,
}

/// Something of its run that a template names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name<'s> {
    /// `input`, with the input's name if one follows.
    Input(Option<Cow<'s, str>>),
    /// `tasks.NAME`.
    Task {
        /// The task's name.
        task: Cow<'s, str>,
        /// What of it.
        part: TaskPart,
    },
    /// `run.id` or `run.labels`.
    Run,
    /// `item`.
    Item,
}

/// What a template names of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskPart {
    /// All of it.
    Whole,
    /// `output`.
    Output,
    /// `status`.
    Status,
    /// `error`.
    Error,
}

impl TaskPart {
    /// The words of what it names.
    pub(super) const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Whole => &["output", "status", "error"],
            Self::Output => &["output"],
            Self::Status => &["status"],
            Self::Error => &["error"],
        }
    }
}

/// Splits a template into text and expressions.
pub(super) fn template(source: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    check_length(source)?;
    let mut pieces = Vec::new();
    let mut rest = source;
    while let Some(open) = rest.find("{{") {
        check_text(&rest[..open])?;
        if open > 0 {
            pieces.push(Piece::Text(&rest[..open]));
        }
        let inside = &rest[open + 2..];
        let tokens = tokens(inside, End::Braces)?;
        pieces.push(Piece::Expression(expression(inside, &tokens)?));
        rest = &inside[tokens.end + 2..];
    }
    check_text(rest)?;
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// Reads a condition: one expression without braces.
pub(super) fn condition(source: &str) -> Result<Expression<'_>, TemplateError> {
    check_length(source)?;
    if source.trim_start().starts_with("{{") {
        return Err(TemplateError::new(Kind::Syntax, "a condition stands without braces")
            .help(format!("write `{}`", clip(source.trim().trim_start_matches("{{").trim_end_matches("}}").trim()))));
    }
    expression(source, &tokens(source, End::Source)?)
}

fn check_length(source: &str) -> Result<(), TemplateError> {
    if source.len() <= SOURCE_MAX {
        return Ok(());
    }
    let message = format!("template of {} bytes is longer than {SOURCE_MAX} bytes", source.len());
    Err(TemplateError::new(Kind::TooLarge, message).help("put long text into a file that the task reads"))
}

fn check_text(text: &str) -> Result<(), TemplateError> {
    if text.contains("{%") {
        return Err(TemplateError::new(Kind::Syntax, "`{%` statements are not part of templates")
            .help("write an expression: `{{ a if condition else b }}`"));
    }
    Ok(())
}

/// Checks the tokens of an expression and collects what it names.
fn expression<'s>(source: &'s str, tokens: &Tokens<'s>) -> Result<Expression<'s>, TemplateError> {
    let walk = Walk { source, tokens: &tokens.list };
    if tokens.list.is_empty() {
        return Err(TemplateError::new(Kind::Syntax, "an expression without content"));
    }
    let mut names = Vec::new();
    let mut brackets = Vec::new();
    for place in 0..tokens.list.len() {
        match walk.is(place) {
            Some(Part::Word(word)) => names.extend(walk.word(place, word)?),
            Some(Part::Symbol(symbol)) => walk.symbol(place, symbol, &mut brackets)?,
            _ => {}
        }
    }
    Ok(Expression { source: source[..tokens.end].trim(), names })
}

/// What an opening bracket means where it stands.
#[derive(Clone, Copy, PartialEq)]
enum Bracket {
    Group,
    Arguments,
    Subscript,
    Literal,
}

struct Walk<'t, 's> {
    source: &'s str,
    tokens: &'t [Token<'s>],
}

impl<'s> Walk<'_, 's> {
    fn is(&self, place: usize) -> Option<Part<'s>> {
        self.tokens.get(place).map(|token| token.is)
    }

    fn symbol_at(&self, place: usize, symbol: char) -> bool {
        self.is(place) == Some(Part::Symbol(symbol))
    }

    fn before(&self, place: usize) -> Option<Part<'s>> {
        place.checked_sub(1).and_then(|before| self.is(before))
    }

    /// Whether the token at `place` stands right behind the one before it, without a space.
    fn touches_last(&self, place: usize) -> bool {
        place > 0 && self.tokens.get(place).is_some_and(|token| token.at == self.tokens[place - 1].end)
    }

    /// A word: attribute, filter, test, keyword, argument's name, or a name of the run.
    fn word(&self, place: usize, word: &'s str) -> Result<Option<Name<'s>>, TemplateError> {
        match self.before(place) {
            Some(Part::Symbol('.')) => {
                if self.hyphen_follows(place) {
                    return Err(self.hyphen_error(place));
                }
                return self.no_call(place, word).map(|()| None);
            }
            Some(Part::Symbol('|')) => return known_word(word, &filters::FILTERS, "filter").map(|()| None),
            Some(Part::Word("is")) if word != "not" => {
                return known_word(word, &filters::TESTS, "test").map(|()| None);
            }
            Some(Part::Word("not")) if self.is_test_after_not(place) => {
                return known_word(word, &filters::TESTS, "test").map(|()| None);
            }
            _ => {}
        }
        let names_argument = self.symbol_at(place + 1, '=') && !self.symbol_at(place + 2, '=');
        if KEYWORDS.contains(&word) || names_argument {
            return Ok(None);
        }
        self.no_call(place, word)?;
        self.root(place, word).map(Some)
    }

    fn is_test_after_not(&self, place: usize) -> bool {
        place >= 2 && self.is(place - 2) == Some(Part::Word("is"))
    }

    fn no_call(&self, place: usize, word: &str) -> Result<(), TemplateError> {
        if !self.symbol_at(place + 1, '(') {
            return Ok(());
        }
        let mut error = TemplateError::new(Kind::Syntax, format!("`{word}(…)`: templates have no functions"));
        if filters::FILTERS.contains(&word) {
            error = error.help(format!("`{word}` is a filter: `… | {word}`"));
        }
        Err(error)
    }

    fn hyphen_follows(&self, place: usize) -> bool {
        let joined = self.symbol_at(place + 1, '-') && self.touches_last(place + 1) && self.touches_last(place + 2);
        joined && matches!(self.is(place + 2), Some(Part::Word(_) | Part::Number))
    }

    fn hyphen_error(&self, place: usize) -> TemplateError {
        let mut end = place;
        while self.hyphen_follows(end) {
            end += 2;
        }
        let mut start = place;
        while start >= 2 && self.symbol_at(start - 1, '.') && matches!(self.is(start - 2), Some(Part::Word(_))) {
            start -= 2;
        }
        let parent = &self.source[self.tokens[start].at..self.tokens[place].at].trim_end().trim_end_matches('.');
        let name = &self.source[self.tokens[place].at..self.tokens[end].end];
        TemplateError::new(Kind::HyphenPath, format!("the hyphen in `{parent}.{name}` would mean minus"))
            .help(format!("write `{parent}[\"{name}\"]`"))
    }

    /// The attribute named right behind `place`, by dot or by a quoted subscript, and the place of
    /// its last token.
    fn attribute(&self, place: usize) -> Result<Option<(Cow<'s, str>, usize)>, TemplateError> {
        match (self.is(place + 1), self.is(place + 2)) {
            (Some(Part::Symbol('.')), Some(Part::Word(name))) => {
                if self.hyphen_follows(place + 2) {
                    return Err(self.hyphen_error(place + 2));
                }
                Ok(Some((Cow::Borrowed(name), place + 2)))
            }
            (Some(Part::Symbol('[')), Some(Part::Quoted(name))) if self.symbol_at(place + 3, ']') => {
                Ok(Some((Cow::Borrowed(name), place + 3)))
            }
            _ => Ok(None),
        }
    }

    fn root(&self, place: usize, word: &'s str) -> Result<Name<'s>, TemplateError> {
        let attribute = self.attribute(place)?;
        match word {
            "input" => Ok(Name::Input(attribute.map(|(name, _)| name))),
            "item" => Ok(Name::Item),
            "run" => match attribute {
                Some((part, _)) if matches!(&*part, "id" | "labels") => Ok(Name::Run),
                Some((part, _)) => Err(unknown(&format!("run.{part}"), &["run.id", "run.labels"])),
                None => {
                    Err(TemplateError::new(Kind::Name, "`run` alone is nothing").help("write `run.id` or `run.labels`"))
                }
            },
            "tasks" => {
                let Some((task, end)) = attribute else {
                    return Err(TemplateError::new(Kind::Name, "`tasks` is followed by the name of a task")
                        .help("write `tasks.NAME.output` or `tasks[\"NAME\"].output`"));
                };
                Ok(Name::Task { part: self.task_part(end)?, task })
            }
            _ => Err(unknown(word, &ROOTS)),
        }
    }

    fn task_part(&self, place: usize) -> Result<TaskPart, TemplateError> {
        match self.attribute(place)?.as_ref().map(|(part, _)| &**part) {
            None => Ok(TaskPart::Whole),
            Some("output") => Ok(TaskPart::Output),
            Some("status") => Ok(TaskPart::Status),
            Some("error") => Ok(TaskPart::Error),
            Some(other) => {
                Err(unknown(other, &["output", "status", "error"]).help("a task has `output`, `status` and `error`"))
            }
        }
    }

    /// Brackets and the operators that mean something else inside them.
    fn symbol(&self, place: usize, symbol: char, brackets: &mut Vec<Bracket>) -> Result<(), TemplateError> {
        let behind_value = match self.before(place) {
            Some(Part::Word(word)) => !KEYWORDS.contains(&word),
            Some(Part::Number | Part::Quoted(_) | Part::Symbol(')' | ']' | '}')) => true,
            _ => false,
        };
        match symbol {
            '(' if behind_value => match self.before(place) {
                Some(Part::Word(_)) => brackets.push(Bracket::Arguments),
                _ => return Err(TemplateError::new(Kind::Syntax, "templates have no functions")),
            },
            '(' => brackets.push(Bracket::Group),
            '[' if behind_value => brackets.push(Bracket::Subscript),
            '[' | '{' => brackets.push(Bracket::Literal),
            ')' | ']' | '}' => {
                brackets.pop();
            }
            ',' if !matches!(brackets.last(), Some(Bracket::Arguments | Bracket::Literal)) => {
                return Err(
                    TemplateError::new(Kind::Syntax, "a comma outside of a list").help("a list stands in `[…]`")
                );
            }
            '*' if brackets.contains(&Bracket::Literal) || brackets.contains(&Bracket::Arguments) => {
                return Err(TemplateError::new(Kind::Syntax, "`*` inside a list, a map or a filter's arguments")
                    .help("multiply outside of the brackets"));
            }
            _ => {}
        }
        Ok(())
    }
}

fn known_word(word: &str, known: &[&'static str], what: &str) -> Result<(), TemplateError> {
    if known.contains(&word) {
        return Ok(());
    }
    let help = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    Err(TemplateError::new(Kind::Syntax, format!("unknown {what} `{}`", clip(word))).help(help))
}

fn unknown(word: &str, known: &[&str]) -> TemplateError {
    let help = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("templates see {}", known.join(", ")),
    };
    TemplateError::new(Kind::Name, format!("unknown name `{}`", clip(word))).help(help)
}
