//! Proofs in words.

use super::{Doubt, Figure, Proof, Rule, Scenario, Step, StepKind, StepUnits, Verdict};
use std::fmt;

/// Names that one sentence lists.
const NAMED_MAX: usize = 4;

impl Proof {
    /// The verdict, then what belongs to it, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match &self.verdict {
            Verdict::Safe { rule } if self.undeclared.is_empty() => lines.push(format!("proved safe: {rule}")),
            Verdict::Safe { rule } => lines.push(format!("safe as far as it is declared: {rule}")),
            Verdict::Unsafe { scenario } => {
                lines.push(format!("unsafe: {scenario}"));
                lines.extend(scenario.lines());
            }
            Verdict::Unknown { doubts, declared } => {
                lines.push(format!("unknown: {}", why_unknown(doubts)));
                lines.extend(doubts.iter().map(Doubt::to_string));
                lines.extend(declared.as_ref().map(|rule| format!("what is declared is safe: {rule}")));
                lines.push("the live detector watches over the rest".to_owned());
            }
        }
        if let Some(slots) = self.slots_max {
            lines.push(format!(
                "this rests on there being no more than {slots} {} (`worker.slots`): it is not shown for more, as with \
                 another worker",
                if slots == 1 { "slot" } else { "slots" }
            ));
        }
        if !self.undeclared.is_empty() {
            let what = match self.undeclared.len() {
                1 => "does not declare what it acquires and starts while it runs",
                _ => "do not declare what they acquire and start while they run",
            };
            lines.push(format!(
                "{} {what} (`acquires`, `spawns`); the live detector watches over that",
                listed(&self.undeclared)
            ));
        }
        lines
    }

    /// The word of the verdict.
    pub const fn word(&self) -> &'static str {
        match self.verdict {
            Verdict::Safe { .. } => "safe",
            Verdict::Unsafe { .. } => "unsafe",
            Verdict::Unknown { .. } => "unknown",
        }
    }
}

fn why_unknown(doubts: &[Doubt]) -> &'static str {
    let is_declared = doubts.iter().all(|doubt| {
        matches!(doubt, Doubt::NotAwaited { .. } | Doubt::NotDecided { .. } | Doubt::TooLarge | Doubt::Recursion { .. })
    });
    match doubts.first() {
        Some(Doubt::NotAwaited { .. }) => "it depends on how the runs are waited for that scripts start",
        _ if is_declared => "neither a proof nor a deadlock was found within bounds",
        _ => "not all that matters is declared",
    }
}

fn listed(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().take(NAMED_MAX).map(|name| quoted(name)).collect();
    match names.len() {
        0..=NAMED_MAX => and(&quoted),
        more => format!("{} and {} others", quoted.join(", "), more - NAMED_MAX),
    }
}

/// A name; slots of workers are no name, but words.
fn quoted(name: &str) -> String {
    if name.contains(' ') { name.to_owned() } else { format!("`{name}`") }
}

fn and(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllAtOnce => {
                f.write_str("nobody holds anything while it waits, each task is granted all it asks for at once")
            }
            Self::Ordered { order } => {
                let order: Vec<String> = order.iter().map(|name| quoted(name)).collect();
                write!(f, "whoever holds something waits only for what comes later in this order: {}", order.join(", "))
            }
            Self::Lending { lent } => {
                write!(
                    f,
                    "whoever waits below a holder of {} is lent it, and nothing else is waited for in a ring",
                    listed(lent)
                )
            }
            Self::Bounded { figures } => {
                f.write_str("those who wait while they hold can never hold too much: ")?;
                f.write_str(&and(&figures.iter().map(Figure::to_string).collect::<Vec<_>>()))
            }
            Self::Explored { states } => write!(f, "every order of grants was looked at, {states} states"),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, size, held_max, asked_max } = self;
        let resource = quoted(resource);
        write!(f, "at most {held_max} of the {size} units of {resource}, and nobody asks for more than {asked_max}")
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undeclared { task, holds } => write!(
                f,
                "`{task}` holds {} and does not say what it acquires or starts meanwhile; `acquires: {{}}` and `spawns: []` say that there is nothing",
                listed(holds)
            ),
            Self::UnknownWorkflow { task, workflow } => {
                write!(f, "`{task}` starts `{workflow}`, which is not known here")
            }
            Self::UnknownSlots { slots } => {
                write!(f, "how many {slots} there are is not known, and they may run short")
            }
            Self::Recursion { workflow } => {
                write!(f, "`{workflow}` starts itself, directly or by others, to a depth that nobody bounds")
            }
            Self::NotAwaited { tasks } => write!(
                f,
                "{} may start runs (`spawns`) and do something else while these go on, or leave them (`--detach`): a lender lends only while it waits for them",
                listed(tasks)
            ),
            Self::NotDecided { resources } => {
                write!(f, "neither a rule nor an example was found for {}", listed(resources))
            }
            Self::TooLarge => f.write_str("there are too many ways in which tasks can stand below each other"),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.runs.iter().map(|runs| runs.count).sum::<usize>() {
            1 => f.write_str("1 run can come to wait for itself for ever"),
            runs => write!(f, "{runs} runs can come to wait for each other for ever"),
        }
    }
}

impl Scenario {
    /// The steps in their order, numbered, then what would make it safe.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.steps.iter().enumerate().map(|(place, step)| format!("{}. {step}", place + 1)).collect();
        if !self.smallest {
            lines.push("fewer runs may do as well".to_owned());
        }
        match self.changes.as_slice() {
            [] => {}
            [one] => lines.push(format!("to change: {one}")),
            several => {
                lines.push("to change, one of these:".to_owned());
                lines.extend(several.iter().map(|change| format!("- {change}")));
            }
        }
        lines
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, first, count, workflow, task, times, units } = self;
        match count {
            1 => write!(f, "run {first} of `{workflow}`: ")?,
            2 => write!(f, "runs {first} and {} of `{workflow}`, each: ", first + 1)?,
            _ => write!(f, "runs {first} to {} of `{workflow}`, each: ", first + count - 1)?,
        }
        if *times > 1 {
            write!(f, "{times} times ")?;
        }
        let said: Vec<String> = match kind {
            StepKind::Gets => units.iter().map(StepUnits::to_string).collect(),
            StepKind::WaitsFor => units.iter().filter(|unit| unit.is_short).map(StepUnits::to_string).collect(),
        };
        let word = if *kind == StepKind::Gets { "gets" } else { "waits for" };
        write!(f, "`{task}` {word} {}", and(&said))
    }
}

impl fmt::Display for StepUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, kind, units, size, lender, .. } = self;
        match (*kind, size) {
            ("lock", _) => write!(f, "lock `{resource}`")?,
            ("slots", Some(size)) => write!(f, "1 of the {size} {resource}")?,
            ("slots", None) => write!(f, "1 of the {resource}")?,
            (_, Some(size)) => write!(f, "{units} of the {size} units of `{resource}`")?,
            (_, None) => write!(f, "{units} of `{resource}`")?,
        }
        match lender {
            Some(lender) => write!(f, ", lent by `{lender}`"),
            None => Ok(()),
        }
    }
}
