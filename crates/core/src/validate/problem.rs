//! What is wrong with a workflow, said so that a file's reader can be shown the place.

use std::fmt;

/// How many problems are kept; what follows is counted only.
pub const PROBLEMS_MAX: usize = 20;

/// One thing wrong (or doubtful) in a workflow or an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which rule.
    pub code: Code,
    /// Where: `tasks.b.needs[1]`; a key that is no plain word is quoted: `tasks["a.b"]`.
    pub path: String,
    /// Whether the key itself is meant, or its value.
    pub on: On,
    /// What is wrong, a lowercase fragment with values in backticks.
    pub message: String,
    /// What was expected instead.
    pub expected: Option<String>,
    /// The known name nearest to the one given.
    pub nearest: Option<String>,
    /// What to do, where more can be said than the nearest name.
    pub help: Option<String>,
}

/// Which half of `key: value` a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The name on the left.
    Key,
    /// What stands on the right.
    Value,
}

/// The rules about meaning; each has a page `docs/errors/UK01xx.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// A name that is not of the allowed form.
    Name,
    /// A task is named that the workflow does not have.
    UnknownTask,
    /// `needs` that contradict themselves: itself, a task twice, more than there are.
    Needs,
    /// Tasks that wait for each other in a circle.
    Cycle,
    /// A chain of needs longer than `max_dependency_depth`.
    TooDeep,
    /// A fallback that is not marked as one, or is nobody's.
    Fallback,
    /// Two limits that a person set and that cannot both hold.
    Limits,
    /// A pool or lock that is unknown, or asked for beyond its size.
    Resource,
    /// A number, length or count outside its bounds.
    Range,
    /// A workflow without tasks, or with too many.
    TaskCount,
    /// A template or condition that cannot be read, or is too large.
    Template,
    /// A template that names what it cannot see.
    TemplateName,
    /// A template inside a line for the shell.
    ShellTemplate,
    /// A hyphen in a dotted path, where it would mean minus.
    HyphenPath,
    /// Text that no process can be given.
    BadText,
    /// A workflow that is called and that nobody has, or too many of them.
    Call,
    /// Inputs that do not fit what the workflow declares.
    Input,
    /// A warning: the bound holds only where the machine supports it.
    MayNotHold,
}

impl Code {
    /// The code as printed, the name of its page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "UK0120",
            Self::UnknownTask => "UK0121",
            Self::Needs => "UK0122",
            Self::Cycle => "UK0123",
            Self::TooDeep => "UK0124",
            Self::Fallback => "UK0125",
            Self::Limits => "UK0126",
            Self::Resource => "UK0127",
            Self::Range => "UK0128",
            Self::TaskCount => "UK0129",
            Self::Template => "UK0130",
            Self::TemplateName => "UK0131",
            Self::ShellTemplate => "UK0132",
            Self::HyphenPath => "UK0133",
            Self::BadText => "UK0135",
            Self::Call => "UK0136",
            Self::Input => "UK0140",
            Self::MayNotHold => "UK0150",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Problem {
    /// A problem with the value at `path`.
    pub fn new(code: Code, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            path: path.into(),
            on: On::Value,
            message: message.into(),
            expected: None,
            nearest: None,
            help: None,
        }
    }

    /// The same, about the key.
    #[must_use]
    pub fn on_key(mut self) -> Self {
        self.on = On::Key;
        self
    }

    /// The same, with what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// The same, with the nearest known name, if any is near.
    #[must_use]
    pub fn nearest(mut self, nearest: Option<&str>) -> Self {
        self.nearest = nearest.map(str::to_owned);
        self
    }

    /// The same, with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// `tasks.b: error[UK0121]: …`, then what was expected and the advice, a line each.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: error[{}]: {}", self.path, self.code, self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "\n  expected {expected}")?;
        }
        if let Some(nearest) = &self.nearest {
            write!(f, "\n  help: did you mean `{nearest}`?")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// The problems found so far: the first [`PROBLEMS_MAX`] in full, the rest as a number.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    pub(crate) list: Vec<Problem>,
    unsaid: usize,
}

impl Problems {
    /// Adds a problem; `problem` runs only while there is room, so that its text may cost something.
    pub(crate) fn add(&mut self, problem: impl FnOnce() -> Problem) {
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(problem());
        } else {
            self.unsaid += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, or `value` if there are none.
    pub(crate) fn or<T>(self, value: impl FnOnce() -> T) -> Result<T, Vec<Problem>> {
        if self.list.is_empty() { Ok(value()) } else { Err(self.list) }
    }
}

/// The path of `key` below `parent`, quoted if the key is no plain word.
pub(crate) fn join_key(parent: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match (plain, parent.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{parent}.{key}"),
        (false, _) => format!("{parent}[{}]", serde_json::Value::from(key)),
    }
}

/// `text` cut to 80 characters, for a message.
pub(crate) fn clip(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
