//! `unknot analyze FILE`: whether a wait graph can move, and if not, why and what would help.

mod place;

use crate::{
    args::{Analyze, Format},
    error::Error,
    exit::Exit,
    output::{Paint, Tone, count, harmless, thousands, wrap},
    terminal,
    workflow::read_bounded,
};
use place::placed;
use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};
use unknot_api::source::SOURCE_MAX;
use unknot_engine::core::wait::{self, Analysis, Class, Input, Snapshot};

/// Ids of one kind that are printed for people.
const IDS_SHOWN_MAX: usize = 24;

/// Judges a file.
pub(crate) fn perform(asked: &Analyze, out: &mut dyn Write) -> Result<Exit, Error> {
    let unreadable = |source| Error::GraphUnreadable { path: asked.file.clone(), source };
    let bytes = read_bounded(&asked.file).map_err(unreadable)?;
    if bytes.len() > SOURCE_MAX {
        let message = format!("it is larger than {SOURCE_MAX} bytes (64 MiB)");
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, message)));
    }
    let input = Input::parse(&bytes)
        .map_err(|fault| Error::NoGraph { path: asked.file.clone(), fault: placed(fault, &bytes) })?;
    let (snapshot, analysis) = match input {
        Input::One(snapshot) => {
            let analysis = wait::analyze(&snapshot);
            (snapshot, analysis)
        }
        Input::Two(reads) => {
            let [first, second] = *reads;
            let analysis = wait::analyze_reads(&first, &second);
            (second, analysis)
        }
    };
    print(format(asked), &snapshot, &analysis, out)?;
    Ok(match analysis.verdict.verdict {
        Class::Moving => Exit::Success,
        Class::Stalled => Exit::STALLED,
        Class::Soft | Class::Deadlocked => Exit::Failed,
    })
}

fn format(asked: &Analyze) -> Format {
    match asked {
        Analyze { json: true, .. } => Format::Json,
        Analyze { dot: true, .. } => Format::Dot,
        Analyze { mermaid: true, .. } => Format::Mermaid,
        Analyze { format: Some(format), .. } => *format,
        _ if io::stdout().is_terminal() => Format::Text,
        _ => Format::Json,
    }
}

fn print(format: Format, snapshot: &Snapshot, analysis: &Analysis, out: &mut dyn Write) -> Result<(), Error> {
    match format {
        Format::Text => write_text(snapshot, analysis, out)?,
        Format::Json => writeln!(out, "{}", serde_json::to_string(analysis).map_err(io::Error::from)?)?,
        Format::Dot => out.write_all(wait::dot(snapshot, &analysis.verdict).as_bytes())?,
        Format::Mermaid => out.write_all(wait::mermaid(snapshot, &analysis.verdict).as_bytes())?,
    }
    Ok(())
}

fn write_text(snapshot: &Snapshot, analysis: &Analysis, out: &mut dyn Write) -> io::Result<()> {
    let paint = Paint::for_stdout();
    let columns = terminal::size().columns;
    let verdict = &analysis.verdict;
    let dead = count(verdict.deadlocked.len() as u64, "node");
    let (word, tone, more) = match verdict.verdict {
        Class::Moving => ("moving", Tone::Good, "everything can go on by what runs now".to_owned()),
        Class::Stalled => {
            let held_up = count(verdict.needs_external.len() as u64, "node");
            ("stalled", Tone::Warn, format!("only the outside can move {held_up}"))
        }
        Class::Soft => ("soft", Tone::Warn, format!("only the order of a queue keeps {dead} from going on")),
        Class::Deadlocked => {
            ("deadlocked", Tone::Bad, format!("{dead} of {} can never go on", thousands(snapshot.nodes.len() as u64)))
        }
    };
    writeln!(out, "{}: {more}\n", paint.tone(tone, word))?;
    for sentence in &analysis.explanation {
        for (place, line) in wrap(sentence, columns.saturating_sub(4), 8).iter().enumerate() {
            writeln!(out, "{}{line}", if place == 0 { "  " } else { "    " })?;
        }
    }
    let victims = match (analysis.victims.len(), analysis.exact) {
        (0 | 1, _) => String::new(),
        (_, true) => " (no fewer would do)".to_owned(),
        (_, false) => " (fewer might do: the cause is too large to try all)".to_owned(),
    };
    let lists = [
        ("cause", ids(&verdict.core)),
        ("dead", ids(&verdict.deadlocked)),
        ("outside", ids(&verdict.needs_external)),
        (if verdict.soft { "or end" } else { "end" }, ids(&analysis.victims) + &victims),
    ];
    let mut is_first = true;
    for (label, ids) in lists.into_iter().filter(|(_, ids)| !ids.is_empty()) {
        if std::mem::take(&mut is_first) {
            writeln!(out)?;
        }
        for (place, line) in wrap(&ids, columns.saturating_sub(11), 6).iter().enumerate() {
            let label = if place == 0 { paint.tone(Tone::Faint, &format!("{label:<7}")) } else { " ".repeat(7) };
            writeln!(out, "  {label}  {line}")?;
        }
    }
    Ok(())
}

fn ids(ids: &[String]) -> String {
    let mut text = ids.iter().take(IDS_SHOWN_MAX).map(|id| harmless(id)).collect::<Vec<_>>().join(", ");
    if ids.len() > IDS_SHOWN_MAX {
        write!(text, " and {} more", ids.len() - IDS_SHOWN_MAX).expect("a string takes everything");
    }
    text
}
