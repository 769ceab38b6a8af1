//! What can be typed to do something once more, or with many runs at once, and for registered workflows.

use super::{At, Listing};
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;
use unknot_api::Moment;

#[derive(Args, Debug)]
pub(crate) struct Retry {
    /// The run: its id, the beginning of it that no other has, or `latest`
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Run every task again, also those that COMPLETED
    #[arg(long)]
    pub(crate) from_scratch: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

pub(crate) const RETRY_EXAMPLES: &str = "\
Examples:
  unknot retry latest
      A new run of the same definition and inputs. What COMPLETED is taken over and not repeated.
  unknot retry run_01jb --from-scratch
      All of it again.
  unknot bulk retry --workflow nightly --status failed --since 2026-11-03T00:00:00Z
      Every run that a night broke.";

#[derive(Args, Debug)]
pub(crate) struct Decide {
    /// The task's id, as `unknot show --json` has it
    #[arg(value_name = "TASK")]
    pub(crate) task: String,
    /// What to do with it
    #[arg(value_enum)]
    pub(crate) decision: Verdict,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What a person can say about a task whose attempt was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verdict {
    /// Try again
    Retry,
    /// Count it as failed
    Fail,
}

pub(crate) const DECIDE_EXAMPLES: &str = "\
Examples:
  unknot decide task_01JBX….3 retry
      Its attempt was lost (`on_lost: hold`), or may still be alive somewhere: you know that it is gone.
  unknot decide task_01JBX….3 fail
      It is not to be tried again.";

#[derive(Args, Debug)]
pub(crate) struct Workflow {
    #[command(subcommand)]
    pub(crate) command: WorkflowCommand,
}

/// What can be done with registered workflows.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowCommand {
    /// Keep a workflow under its name, as its newest version
    Add {
        /// The workflow file, YAML or JSON
        #[arg(value_name = "FLOW", value_hint = ValueHint::FilePath)]
        flow: PathBuf,
        #[command(flatten)]
        listing: Listing,
    },
    /// List them
    Ls(Listing),
    /// Show one with its versions
    Show {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Forget one; its runs are not touched
    Rm {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        at: At,
    },
}

pub(crate) const WORKFLOW_EXAMPLES: &str = "\
Examples:
  unknot workflow add nightly.yaml
      From now on `unknot submit nightly` runs it, with a token of the scope `submit`.
  unknot submit nightly@3fa9
      An older version, by the beginning of its hash.
  unknot workflow show nightly
      Its versions: who registered each, and when.";

#[derive(Args, Debug)]
pub(crate) struct Bulk {
    /// What to do with every run that is found
    #[arg(value_enum)]
    pub(crate) action: Action,
    /// Only runs with this status
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Only runs of this workflow
    #[arg(long, value_name = "NAME")]
    pub(crate) workflow: Option<String>,
    /// Only runs of this client
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// Only runs with this label
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Option<String>,
    /// Only runs submitted at this moment or later
    #[arg(long, value_name = "MOMENT", value_parser = super::moment)]
    pub(crate) since: Option<Moment>,
    /// Only runs submitted before this moment
    #[arg(long, value_name = "MOMENT", value_parser = super::moment)]
    pub(crate) until: Option<Moment>,
    /// Why, for cancellations
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Only say which
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one JSON object for each thousand runs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What can be done with many runs at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Action {
    /// End those that have not ended
    Cancel,
    /// Take those further that ended otherwise than COMPLETED
    Retry,
    /// Take those further that left dead letters
    Redrive,
}

pub(crate) const BULK_EXAMPLES: &str = "\
Examples:
  unknot bulk cancel --workflow nightly --dry-run
      Which unfinished runs of it there are.
  unknot bulk retry --status failed --since 2026-11-03T00:00:00Z
      Takes each further, from where it failed.
  unknot bulk redrive --workflow import
      Every run of it that left dead letters.

Exit status: 0 all of it, 1 some of it was refused (each is named).";
