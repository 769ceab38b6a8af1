//! What can be typed to have a wait graph judged.

use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct Analyze {
    /// The wait graph, as JSON; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// What to print [default: text on a terminal, json elsewhere]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// The same as `--format json`
    #[arg(long, conflicts_with_all = ["format", "dot", "mermaid"])]
    pub(crate) json: bool,
    /// The same as `--format dot`
    #[arg(long, conflicts_with_all = ["format", "mermaid"])]
    pub(crate) dot: bool,
    /// The same as `--format mermaid`
    #[arg(long, conflicts_with = "format")]
    pub(crate) mermaid: bool,
}

/// What a verdict is printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Sentences for people
    Text,
    /// One JSON object
    Json,
    /// A drawing for Graphviz
    Dot,
    /// A drawing for Mermaid, as trackers show it
    Mermaid,
}

pub(crate) const ANALYZE_EXAMPLES: &str = r#"Examples:
  unknot analyze waits.json
      Whether it can move, and if not: who waits for whom in a ring, since when, whom to end
      and what would repair it.
  unknot analyze waits.json --json | jq -r '.explanation[]'
      For programs. Keys: verdict, deadlocked, core, needs_external, soft, victims, exact,
      repairs, explanation.
  unknot analyze waits.json --dot | dot -Tsvg > waits.svg
      A drawing, the cause in red. `--mermaid` prints one that GitHub and GitLab draw in a ticket.
  echo '{"nodes": [{"id": "a", "state": "waiting"}, {"id": "b", "state": "waiting"}],
    "resources": [{"id": "gpu", "units": 1, "queue": "fifo"}, {"id": "disk", "units": 1, "queue": "fifo"}],
    "holds": [{"node": "a", "resource": "gpu", "units": 1}, {"node": "b", "resource": "disk", "units": 1}],
    "waits": [{"node": "a", "expr": {"mode": "all", "of": [{"resource": "disk", "units": 1}]}},
              {"node": "b", "expr": {"mode": "all", "of": [{"resource": "gpu", "units": 1}]}}]}' |
    unknot analyze -
      Two that took two locks in opposite order. docs/wait-graph.md says what a file may hold.
  echo '{"generate": {"kind": "pool_saturation", "n": 50}}' | unknot analyze -
      Fifty parents fill a pool, and each waits for a child that needs a place in it.

Time plays no part: what is `deadlocked` can never move, `stalled` moves only if somebody
outside does something, all else is `moving`. `soft`: only the order of a queue holds it up.

Exit status:
  0  moving                 3  stalled
  1  deadlocked, or soft    2  the file is no wait graph"#;
