//! What can be typed about alerts.

use super::{At, Listing};
use clap::{Args, Subcommand};

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Alerts {
    #[command(subcommand)]
    pub(crate) command: Option<AlertsCommand>,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// What can be done beside listing them.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// Send an alert now, and print what the other side answers; ends with 1 if a target does not take it
    Test(TestAlerts),
}

#[derive(Args, Debug)]
pub(crate) struct TestAlerts {
    /// The target, by its name in the configuration [default: each]
    #[arg(value_name = "TARGET")]
    pub(crate) target: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

pub(super) const ALERTS_EXAMPLES: &str = "\
Examples:
  unknot alerts
      Incidents that are open, or that somebody is still to be told of, and how far each target is.
  unknot alerts --json | jq -r 'select(.resolved_at == null) | .summary'
      For programs.
  unknot alerts test
      Does each target of `unknot.yaml` take an alert? By the server that owns the data folder, else from here.
  unknot alerts test oncall && echo fine
      One of them; its exit status says whether it took it.";
