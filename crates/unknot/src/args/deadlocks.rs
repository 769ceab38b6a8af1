//! What can be typed about verdicts and waits.

use super::{At, Format, operate::moment};
use clap::{Args, Subcommand, ValueEnum, builder::RangedU64ValueParser};
use unknot_api::Moment;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Deadlocks {
    #[command(subcommand)]
    pub(crate) command: Option<DeadlocksCommand>,
    #[command(flatten)]
    pub(crate) listing: Verdicts,
}

/// Which verdicts are listed.
#[derive(Args, Debug)]
pub(crate) struct Verdicts {
    /// Only about this run and those that it started: its id, the beginning of it that no other has, or `latest`
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Only of this kind
    #[arg(long, value_enum)]
    pub(crate) kind: Option<VerdictKind>,
    /// Only with this outcome
    #[arg(long, value_enum)]
    pub(crate) outcome: Option<VerdictOutcome>,
    /// Only made at this moment or later: 2026-11-03T14:02:11Z
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    pub(crate) since: Option<Moment>,
    /// Only those that are not over
    #[arg(long)]
    pub(crate) open: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) limit: usize,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What a verdict says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerdictKind {
    /// Proved: they can never move
    Deadlocked,
    /// Proved: nobody can end their wait any more
    Orphaned,
    /// Only the outside moves them, or nothing has happened for long
    Stalled,
    /// Others are served before them, or nobody serves them
    Starved,
}

/// What was done about a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerdictOutcome {
    /// Somebody was told, nothing else
    Reported,
    /// Attempts were stopped, to be made again
    Retried,
    /// Runs were cancelled
    Cancelled,
}

/// What can be done beside listing them.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadlocksCommand {
    /// Show one: who held what, who waited for what, since when; and what was done
    Show(ShowVerdict),
    /// Judge everything now, and report which runs stand still; nothing is done about it
    Scan(Scan),
    /// Say of one that it was wrong, or take that back
    Mark(MarkVerdict),
}

#[derive(Args, Debug)]
pub(crate) struct ShowVerdict {
    /// The verdict: `dl_7`, or `latest`
    #[arg(value_name = "VERDICT", default_value = "latest")]
    pub(crate) id: String,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Args, Debug)]
pub(crate) struct Scan {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Args, Debug)]
pub(crate) struct MarkVerdict {
    /// The verdict: `dl_7`
    #[arg(value_name = "VERDICT")]
    pub(crate) id: String,
    /// What is said of it
    #[arg(value_enum)]
    pub(crate) mark: Mark,
    /// Why, for whoever looks at it later
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What can be said of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mark {
    /// It was wrong: they moved, or would have
    FalsePositive,
    /// Nothing; what was said before is taken back
    None,
}

pub(super) const DEADLOCKS_EXAMPLES: &str = "\
Examples:
  unknot deadlocks
      The newest 20 verdicts: proved deadlocks, and runs that stood still for too long.
  unknot deadlocks --run latest --open
      Those about one run, or one that it started (at any depth, up to 50), that are not over.
  unknot deadlocks show dl_7
      Who held what and who waited for what, in the order of the cycle, and what was done.
  unknot deadlocks show dl_7 --format mermaid
      The graph as GitHub and GitLab draw it in a ticket; `dot` is for Graphviz.
  unknot deadlocks scan
      Runs that stand still as of now, each deadlock by itself. Nothing is kept, told or done.
  unknot deadlocks mark dl_7 false-positive --note 'the export was only slow'
      For the rate of wrong verdicts, and for whoever looks at it later.

They are asked of the server that owns the data folder, else read from the store there.

Exit status of `scan`: 0 everything can move, 1 something is deadlocked, 3 something stands still.";

#[derive(Args, Debug)]
pub(crate) struct Waits {
    /// Only what this run depends on: its id, the beginning of it that no other has, or `latest`
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// At most so many lines of the table
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) limit: u16,
    /// What to print; all but text is the whole graph
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) at: At,
}

pub(super) const WAITS_EXAMPLES: &str = "\
Examples:
  unknot waits
      Who waits, since when, until when at the latest, who can move it, and for what it waits.
  unknot waits --run latest
      Only what the newest run depends on, directly or not.
  unknot waits --format json | unknot analyze -
      The graph in the exchange format, judged.
  unknot waits --format dot | dot -Tsvg > waits.svg
      A drawing. `mermaid` is one that GitHub and GitLab draw in a ticket.

It is read from the store, as of its newest commit; `unknot why RUN` follows one wait down to its cause.";
