//! What was typed, word by word. What it means is decided in `config.rs` and by the commands.

mod again;
mod alerts;
mod analyze;
mod attempt;
mod deadlocks;
mod operate;

pub(crate) use again::*;
pub(crate) use alerts::*;
pub(crate) use analyze::*;
pub(crate) use attempt::*;
pub(crate) use deadlocks::*;
pub(crate) use operate::*;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint, builder::RangedU64ValueParser};
use std::{net::SocketAddr, path::PathBuf};

/// An orchestrator for work that must not freeze.
#[derive(Debug, Parser)]
#[command(name = "unknot", version, max_term_width = 100, after_help = EXAMPLES, disable_help_subcommand = false)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Start here:
  unknot check flow.yaml        is it sound, and which bounds does it have?
  unknot run flow.yaml          run it; the same again goes on where it was
  unknot show latest            what happened, what waits for what
  unknot logs latest fetch -f   what a task prints

In a script that is a task:
  unknot lock gpu -- ./train    one at a time, whoever else wants it
  unknot spawn part.yaml --wait a run of another workflow, and its output

With a server (`unknot serve`):
  unknot submit flow.yaml       hand it over; `--wait` waits for its end
  unknot top                    what goes on there, live
  unknot worker                 work for it, from any machine

`unknot help COMMAND` explains each command by example.";

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a workflow to its end, or go on with an unfinished run of it
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(Run),
    /// Serve the API: what teams run
    #[command(after_long_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Perform attempts of a server on this machine
    #[command(after_long_help = WORKER_EXAMPLES)]
    Worker(Worker),
    /// Show or check the configuration
    #[command(after_long_help = CONFIG_EXAMPLES)]
    Config(Config),
    /// Hand a workflow to a server
    #[command(after_long_help = SUBMIT_EXAMPLES)]
    Submit(Submit),
    /// Say whether a workflow is sound, and which bounds it has
    #[command(after_long_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Judge a wait graph: can it move, who is the cause, what would help
    #[command(after_long_help = ANALYZE_EXAMPLES)]
    Analyze(Analyze),
    /// List runs, the newest first
    #[command(after_long_help = LS_EXAMPLES)]
    Ls(Ls),
    /// Show a run: its tasks, what each waits for, why it ended
    #[command(after_long_help = SHOW_EXAMPLES)]
    Show(Show),
    /// Print what tasks printed
    #[command(after_long_help = LOGS_EXAMPLES)]
    Logs(Logs),
    /// Print what happened to a run, and what happens
    #[command(after_long_help = EVENTS_EXAMPLES)]
    Events(Events),
    /// End a run: TERM, a grace, KILL
    #[command(after_long_help = CANCEL_EXAMPLES)]
    Cancel(Cancel),
    /// Take a run further that did not complete
    #[command(after_long_help = RETRY_EXAMPLES)]
    Retry(Retry),
    /// Cancel, retry or redrive every run that is found
    #[command(after_long_help = BULK_EXAMPLES)]
    Bulk(Bulk),
    /// Say what becomes of a task whose attempt was lost
    #[command(after_long_help = DECIDE_EXAMPLES)]
    Decide(Decide),
    /// Keep workflows under their names at a server
    #[command(after_long_help = WORKFLOW_EXAMPLES)]
    Workflow(Workflow),
    /// Say why a run or a task does not go on, and who can move it
    #[command(after_long_help = WHY_EXAMPLES)]
    Why(Why),
    /// Send a run a signal that a task of it waits for, such as an approval
    Signal(Signal),
    /// Hold a queue, a workflow or a run: nothing new of it starts
    #[command(after_long_help = PAUSE_EXAMPLES)]
    Pause(Hold),
    /// Let a queue, a workflow or a run go on
    #[command(after_long_help = RESUME_EXAMPLES)]
    Resume(Hold),
    /// Watch a server: runs, queues, workers, what waits longest
    #[command(after_long_help = TOP_EXAMPLES)]
    Top(Top),
    /// List queues: how many tasks stand in them, since when, whether they are held
    #[command(after_long_help = QUEUES_EXAMPLES)]
    Queues(Listing),
    /// List the workers that are connected
    #[command(after_long_help = WORKERS_EXAMPLES)]
    Workers(Listing),
    /// List pools and locks, who holds them and who waits; make, resize and remove them
    #[command(after_long_help = POOLS_EXAMPLES)]
    Pools(Pools),
    /// Inside a task: acquire locks or units of a pool, perhaps for one command
    #[command(after_long_help = LOCK_EXAMPLES)]
    Lock(Lock),
    /// Inside a task: give locks or units of a pool back
    #[command(after_long_help = UNLOCK_EXAMPLES)]
    Unlock(Unlock),
    /// Inside a task: wait for locks, child runs, signals, a moment; for all, some or one of them
    #[command(after_long_help = WAIT_EXAMPLES)]
    Wait(Wait),
    /// Inside a task: begin a run of another workflow
    #[command(after_long_help = SPAWN_EXAMPLES)]
    Spawn(Spawn),
    /// Look after tasks that are out of tries
    #[command(after_long_help = DEAD_EXAMPLES)]
    Dead(Dead),
    /// List who waits now, for what, and who can move it
    #[command(after_long_help = WAITS_EXAMPLES)]
    Waits(Waits),
    /// List verdicts about work that stood still, show one, scan for more
    #[command(after_long_help = DEADLOCKS_EXAMPLES)]
    Deadlocks(Deadlocks),
    /// Show who was told of incidents, and test whether alerts arrive
    #[command(after_long_help = ALERTS_EXAMPLES)]
    Alerts(Alerts),
    /// Make and take away tokens, by which a server knows its callers
    #[command(after_long_help = TOKEN_EXAMPLES)]
    Token(Token),
    /// Look after the store: back it up, check it, make room
    #[command(after_long_help = STORE_EXAMPLES)]
    Store(Store),
    /// Print a completion script for a shell
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions(Completions),
}

/// Where runs are kept.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Place {
    /// The data folder [default: `server.data` of the nearest `unknot.yaml`, else `.unknot` beside the workflow]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// The configuration [default: the nearest `unknot.yaml`, here or above]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The workflow file, YAML or JSON
    #[arg(value_name = "FLOW", value_hint = ValueHint::FilePath)]
    pub(crate) flow: PathBuf,
    /// An input, or a JSON file of inputs; may be repeated, the last one wins
    #[arg(short, long, value_name = "KEY=VALUE|@FILE")]
    pub(crate) input: Vec<String>,
    /// Start afresh, even if an unfinished run of this file and these inputs is there
    #[arg(long)]
    pub(crate) new: bool,
    /// Run it once under this key: the same again finds that run, even one that has ended
    #[arg(long, value_name = "TEXT", conflicts_with = "new", value_parser = key)]
    pub(crate) key: Option<String>,
    /// Print events as JSON, one object a line, and a summary as the last one
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Letters of an idempotency key.
const KEY_MAX: usize = 200;

/// A key as it may be.
fn key(given: &str) -> Result<String, String> {
    match given.chars().count() {
        1..=KEY_MAX => Ok(given.to_owned()),
        _ => Err(format!("a key has 1 to {KEY_MAX} letters")),
    }
}

const RUN_EXAMPLES: &str = "\
Examples:
  unknot run flow.yaml
      Runs it. If it was interrupted before, by whatever, it goes on where it was:
      what was completed is not repeated.
  unknot run flow.yaml -i topic=tides -i pages=5
      Gives inputs. Text stays text; numbers, lists and maps are read as JSON.
  unknot run flow.yaml -i @inputs.json --new
      Takes inputs from a file, and starts afresh.
  unknot run flow.yaml --key \"nightly $(date +%F)\"
      Once a day, however often it is typed: the same key finds the same run.
  unknot run flow.yaml --json | jq -c 'select(.event == \"TASK_FAILED\")'
      For programs: one JSON object a line. The first is {\"start\": …}, the last {\"summary\": …}.

Ctrl-C (or TERM, or closing the terminal) cancels the run: its tasks get TERM, a grace, KILL.
A second Ctrl-C or TERM kills them at once: the command says CUT SHORT and ends with 130, however far the
run has come by then. If it has not ended, the same command goes on with it, or with its cancellation.

Where a server owns the data folder, the run goes there and is followed here; if it goes on there already,
that one is followed. Ctrl-C or TERM cancels it as well. A second one, and closing the terminal, only leave:
the run is the server's, and goes on or goes on ending there. `unknot submit` hands a run over without that.

Exit status:
  0  COMPLETED              3  CANCELLED
  1  FAILED                 4  TIMED_OUT
  2  the command line, the workflow or its inputs cannot be used
  5  the store, the disk or the system stands in the way
  130  cut short: killed by a second Ctrl-C or TERM, or its output was closed, or the run was left to the server.
       The last lines say what became of the run (with --json: `status`, and `cut_short`)";

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Where to listen [default: `server.listen` of `unknot.yaml`, else 127.0.0.1:8001]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Let callers on this machine do everything without a token
    #[arg(long)]
    pub(crate) insecure_loopback: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  unknot serve
      Serves the API at 127.0.0.1:8001, with the data folder of the nearest `unknot.yaml`.
      The first start makes a token, in `admin.token` in the data folder.
  curl http://127.0.0.1:8001/health
      Whether work makes progress; 503 when not. `/docs` lists everything else.
  curl -H \"Authorization: Bearer $(cat .unknot/admin.token)\" http://127.0.0.1:8001/runs
      With the token.

  kill -HUP PID
      Reads `unknot.yaml` anew; the log says what changes now and what at the next start.
      An unsound file changes nothing; `unknot config check` says so beforehand.

TERM or Ctrl-C: nothing new starts, what runs may go on for 30 s (`server.drain`), then it is stopped. A second one
ends it at once. Either way nothing is lost: the next start goes on.";

#[derive(Args, Debug)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// What can be asked of the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print each value, with where it came from
    Show {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Say whether it is sound, and what of it does nothing
    Check {
        /// The file [default: the nearest `unknot.yaml`, here or above]
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
}

const CONFIG_EXAMPLES: &str = "\
Examples:
  unknot config show
      Each key with its value, and whether the command line, a variable, a line of the file or
      nobody said so.
  unknot config show --json | jq '.values[] | select(.from != \"default\")'
      For programs.
  unknot config check new.yaml && kill -HUP \"$(pgrep -f 'unknot serve')\"
      Before a running server reads it anew.

Exit status: 0 sound, 2 not.";

#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The workflow file, YAML or JSON; `-` is standard input
    #[arg(value_name = "FLOW", value_hint = ValueHint::FilePath)]
    pub(crate) flow: PathBuf,
    /// Print what was found as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  unknot check flow.yaml
      What is wrong, at which line, and what was probably meant. Of a sound file:
      its tasks, its longest chain, every bound, also those that nobody wrote, and whether
      its runs can wait for each other for ever: with the pools of the nearest unknot.yaml
      and the files beside it that it starts.
  unknot check flow.json --json | jq .problems,.proof
      For editors and programs.

Exit status: 0 sound (perhaps with warnings), 1 sound but its runs can deadlock, 2 not sound.";

#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Only runs with this status
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) status: Option<Status>,
    /// Only runs of this workflow
    #[arg(long, value_name = "NAME")]
    pub(crate) workflow: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) limit: usize,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

const LS_EXAMPLES: &str = "\
Examples:
  unknot ls
      The newest 20 runs of the workflows here.
  unknot ls --status failed --workflow nightly
      The failed ones of one workflow.
  unknot ls --server http://10.0.0.5:8001 --token-file token
      Those of a server elsewhere. UNKNOT_SERVER and UNKNOT_TOKEN say so for all commands.
  unknot ls --limit 1000 --json | jq -r .run
      For programs.";

/// The statuses of runs, as they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Waits for its start time
    Pending,
    /// Its tasks are let go
    Running,
    /// On its way to its end
    Cancelling,
    /// Ended well
    Completed,
    /// Ended because a task failed
    Failed,
    /// Ended because somebody cancelled it
    Cancelled,
    /// Ended because its time ran out
    TimedOut,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The run: its id, the beginning of it that no other has, or `latest`
    #[arg(value_name = "RUN", default_value = "latest")]
    pub(crate) run: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Print its history, line by line
    #[arg(long)]
    pub(crate) events: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  unknot show latest
      The newest run: its tasks, what each waits for since when and until when, why it ended,
      and what it left: outputs, cut to a line, and artifacts.
  unknot show run_01jb
      The beginning of an id is enough.
  unknot show latest --events
      Everything that happened to it, in order.
  unknot show latest --json | jq '.tasks[] | select(.status == \"FAILED\")'
      For programs; with --events, one JSON object a line.";

#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// The run: its id, the beginning of it that no other has, or `latest`
    #[arg(value_name = "RUN", default_value = "latest")]
    pub(crate) run: String,
    /// One task; without it, all of them, each line behind the task's name
    #[arg(value_name = "TASK")]
    pub(crate) task: Option<String>,
    /// Go on printing while they grow, until the run has ended
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// The log of this attempt [default: the newest]
    #[arg(long, value_name = "N", conflicts_with = "all", requires = "task")]
    pub(crate) attempt: Option<u32>,
    /// The logs of all attempts
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

const LOGS_EXAMPLES: &str = "\
Examples:
  unknot logs latest
      What the tasks of the newest run printed.
  unknot logs latest render -f
      What one task prints, as it comes.
  unknot logs run_01jb fetch --attempt 1
      What its first attempt printed, before it was tried again. Without it or --all, the newest
      attempt is printed, and a note says that there were others.";

#[derive(Args, Debug)]
pub(crate) struct Cancel {
    /// The run: its id, the beginning of it that no other has, or `latest`
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Why, for whoever looks at it later
    #[arg(long, value_name = "TEXT", default_value = "cancelled by hand")]
    pub(crate) reason: String,
    /// Give its attempts up at once instead of waiting for their end
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

const CANCEL_EXAMPLES: &str = "\
Examples:
  unknot cancel latest
      Ends the newest run, whichever terminal or server it runs in. Its tasks get TERM, a grace, KILL.
  unknot cancel run_01jb --reason 'wrong inputs'
      Says why.
  unknot cancel latest --force
      Does not wait for tasks that do not die; what they hold stays closed until somebody looks.";

#[derive(Args, Debug)]
pub(crate) struct Store {
    #[command(subcommand)]
    pub(crate) command: StoreCommand,
}

/// What can be done with a store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Copy it into one file, while work goes on
    Backup {
        /// The file to write; it must not exist
        #[arg(value_name = "TARGET", value_hint = ValueHint::FilePath)]
        target: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Look at each row, and prove that it is whole
    Check {
        #[command(flatten)]
        place: Place,
    },
    /// Print the data folder
    Path {
        #[command(flatten)]
        place: Place,
    },
    /// Remove runs that ended long ago, with their logs and artifacts
    Prune {
        /// Runs that ended longer ago than this go
        #[arg(long, value_name = "LENGTH", default_value = "7d")]
        older_than: String,
        /// Above this size, the runs that ended first go, whatever their age
        #[arg(long, value_name = "SIZE", default_value = "2GiB")]
        larger_than: String,
        #[command(flatten)]
        place: Place,
    },
}

const STORE_EXAMPLES: &str = "\
Examples:
  unknot store backup /backups/unknot-$(date +%F).db
      A complete copy as of one moment. To restore it, copy it back as unknot.db.
  unknot store check
      Exit status 0: it is sound.
  unknot store prune --older-than 30d
      Makes room. `unknot run` does the same by itself, a little at a time.
  sqlite3 \"$(unknot store path)/unknot.db\" 'select * from v_runs'
      It is a SQLite database that a person can read.";

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum, action = ArgAction::Set)]
    pub(crate) shell: clap_complete::Shell,
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  unknot completions bash > ~/.local/share/bash-completion/completions/unknot
  unknot completions zsh > ~/.zfunc/_unknot
  unknot completions fish > ~/.config/fish/completions/unknot.fish";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
