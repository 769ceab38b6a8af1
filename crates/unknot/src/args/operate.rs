//! What can be typed against a server.

use super::{KEY_MAX, Place, key};
use clap::{Args, Subcommand, ValueEnum, ValueHint, builder::RangedU64ValueParser};
use std::path::PathBuf;
use unknot_api::{Duration as Length, Moment};
use unknot_engine::core::validate::is_name;

/// Which server is asked, or where runs are kept if none is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct At {
    /// The server, `http://HOST:PORT` or `unix:PATH` [default: the one that owns the data folder, if one does]
    #[arg(long, value_name = "URL", env = "UNKNOT_SERVER", hide_env = true, value_hint = ValueHint::Url)]
    pub(crate) server: Option<String>,
    /// The token that lets you in. Others on this machine can read it here: better in UNKNOT_TOKEN, or in a file
    #[arg(long, value_name = "TOKEN", env = "UNKNOT_TOKEN", hide_env = true)]
    pub(crate) token: Option<String>,
    /// A file with the token, such as `admin.token` of the server's data folder
    #[arg(long, value_name = "FILE", env = "UNKNOT_TOKEN_FILE", hide_env = true, value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Args, Debug)]
pub(crate) struct Worker {
    /// Its name: whoever has it last has it [default: that of this machine]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Attempts at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=512))]
    pub(crate) slots: u32,
    /// Only tasks of this queue; may be repeated [default: all queues]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) queue: Vec<String>,
    /// A handler for `worker` tasks, and the line for the shell that is run for each call; may be repeated
    #[arg(long, value_name = "NAME=LINE", value_parser = handler)]
    pub(crate) handler: Vec<(String, String)>,
    /// Only calls of its handlers: no commands and requests that workflows bring
    #[arg(long, requires = "handler")]
    pub(crate) handlers_only: bool,
    /// What people should know of it; may be repeated, 32 in all
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// The folder of what attempts print and leave here, until the server has it; not a store's [default: `.unknot/worker-NAME`]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
    /// How long what runs may go on after the first TERM
    #[arg(long, value_name = "LENGTH", default_value = "30s", value_parser = length)]
    pub(crate) drain: Length,
    #[command(flatten)]
    pub(crate) at: At,
}

pub(super) fn length(given: &str) -> Result<Length, String> {
    Length::parse(given).ok_or_else(|| "expected a length such as `30s` or `5m`".to_owned())
}

pub(super) const WORKER_EXAMPLES: &str = "\
Examples:
  unknot worker --server http://build-1:8001 --name w1 --slots 4
      Performs up to four attempts at once. The token, of scope `operate`, is in UNKNOT_TOKEN or --token-file.
  unknot worker --queue slow --queue gpu
      Takes tasks of these queues only, from the server that owns the data folder.
  unknot worker --handlers-only --handler 'resize=./resize.py'
      Runs ./resize.py for each task that says `worker: resize`, and nothing that a workflow brings. The task's `input`
      is in the file that UNKNOT_INPUT names; the output is, as ever, its last line if that is a JSON object.

It needs no port of its own: only it calls. Tasks work in its current folder, or in the one that they name; what they
print and leave is sent to the server, and removed here. While the server is away, what runs goes on, and is told when the server is there again;
what cannot be told in time is ended before somebody else has it.

TERM or Ctrl-C: nothing new is taken, what runs may go on for 30 s (`--drain`), then it is stopped. A second one ends
it at once.

Exit status: 0 when told to end, 5 if the server will not have it or the system stands in the way, 130 after a second
Ctrl-C.";

#[derive(Args, Debug)]
pub(crate) struct Submit {
    /// The workflow file, YAML or JSON, or the name of a workflow that is registered at the server
    #[arg(value_name = "FLOW|NAME", value_hint = ValueHint::FilePath)]
    pub(crate) flow: String,
    /// An input, or a JSON file of inputs; may be repeated, the last one wins
    #[arg(short, long, value_name = "KEY=VALUE|@FILE")]
    pub(crate) input: Vec<String>,
    /// Wait for its end, and show how far it is; Ctrl-C stops the waiting, not the run
    #[arg(short, long)]
    pub(crate) wait: bool,
    /// Submit it once under this key: the same again finds that run
    #[arg(long, value_name = "TEXT", value_parser = visible_key)]
    pub(crate) key: Option<String>,
    /// A label to find it by; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// Its tasks do not start before this moment: 2026-11-03T14:02:11Z
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    pub(crate) start_at: Option<Moment>,
    /// Print JSON: the run; with `--wait` its events, one object a line, and a summary as the last one
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

fn visible_key(given: &str) -> Result<String, String> {
    if given.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return key(given);
    }
    Err(format!("a key at a server has 1 to {KEY_MAX} visible ASCII letters"))
}

/// A handler that no task can call would wait for ever.
fn handler(given: &str) -> Result<(String, String), String> {
    let expected = "expected `NAME=LINE`, the name a small letter, then small letters, digits, `_` and `-`, up to 100";
    label(given).ok().filter(|(name, _)| is_name(name)).ok_or_else(|| expected.to_owned())
}

pub(super) fn label(given: &str) -> Result<(String, String), String> {
    let pair = given.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| "expected `NAME=VALUE`".to_owned())
}

pub(super) fn moment(given: &str) -> Result<Moment, String> {
    Moment::parse(given).ok_or_else(|| "expected a moment such as `2026-11-03T14:02:11Z`".to_owned())
}

pub(super) const SUBMIT_EXAMPLES: &str = "\
Examples:
  unknot submit flow.yaml -i topic=tides
      Hands it to the server that owns the data folder here, prints the run's id, and is done.
  unknot submit flow.yaml --wait
      Shows how far it is until its end. Ctrl-C stops watching; the run goes on at the server.
  unknot submit nightly --key \"nightly $(date +%F)\" --label team=maps
      A workflow that is registered there, once a day however often it is typed.
  unknot submit flow.yaml --server http://10.0.0.5:8001 --token-file token
      To a server elsewhere. Its tasks work there: they see the server's files, not yours.
  unknot logs $(unknot submit flow.yaml --json | jq -r .run) -f
      For programs.

Exit status: 0 submitted, or with --wait as `unknot run` ends; 130 when the waiting was stopped.";

#[derive(Args, Debug)]
pub(crate) struct Events {
    /// The run: its id, the beginning of it that no other has, or `latest`
    #[arg(value_name = "RUN", default_value = "latest")]
    pub(crate) run: String,
    /// Go on as things happen, until the run has ended; needs a server
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

pub(super) const EVENTS_EXAMPLES: &str = "\
Examples:
  unknot events latest
      Everything that happened to the newest run, in order.
  unknot events run_01jb -f
      And what happens, until it has ended. A server that ends or is lost is tried again for two
      minutes; nothing is missed.
  unknot events latest -f --json | jq -c 'select(.event == \"TASK_FAILED\")'
      For programs.";

#[derive(Args, Debug)]
pub(crate) struct Why {
    /// The run: its id, the beginning of it that no other has, or `latest`; or the id of a task
    #[arg(value_name = "RUN|TASK", default_value = "latest")]
    pub(crate) id: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

pub(super) const WHY_EXAMPLES: &str = "\
Examples:
  unknot why
      Follows the newest run: what each of its tasks waits for, since when, until when, who holds that, and what moves it.
  unknot why run_01J8
  unknot why task_01J80000000000000000000000.3 --json | jq .causes

It asks the server, else the process that runs it: both know it from memory, so they answer whatever their disk does.

Exit status: 0; 1 if it has ended, 2 if there is no such run, or nobody serves it.";

#[derive(Args, Debug)]
pub(crate) struct Signal {
    #[command(subcommand)]
    pub(crate) what: SignalWhat,
}

#[derive(Subcommand, Debug)]
pub(crate) enum SignalWhat {
    /// Send a run a signal
    #[command(after_long_help = SIGNAL_EXAMPLES)]
    Send(SendSignal),
}

#[derive(Args, Debug)]
pub(crate) struct SendSignal {
    /// The run: its id, the beginning of it that no other has, or `latest`; left out inside a task, its own run
    #[arg(value_name = "RUN")]
    pub(crate) first: String,
    /// The signal: what the task says behind `signal:`
    #[arg(value_name = "NAME")]
    pub(crate) second: Option<String>,
    /// What it says: JSON, or text if it is none
    #[arg(value_name = "PAYLOAD")]
    pub(crate) third: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

const SIGNAL_EXAMPLES: &str = "\
Examples:
  unknot signal send latest approve
      Lets the task go on that says `signal: approve`.
  unknot signal send run_01J8 approve '{\"by\": \"the night shift\", \"pages\": [1, 4]}'
      The same, with an output for the tasks behind it: `{{ tasks.NAME.output.pages }}`.
  unknot signal send ready '{\"rows\": 7}'
      Inside a task, to its own run. With RUN, to a run that the task has spawned, or to the one that has spawned its
      own; any other as outside of a task.

The run keeps the latest signal of each name: a task that comes to wait for it later finds it. Asked is the server, else the
process that runs it; without one it is written into the store, and found by the next.

Exit status: 0 if the run has it, 1 if the run has ended, 2 if there is no such run or the signal cannot be used, 5 if the
server or the store stands in the way.";

#[derive(Args, Debug)]
pub(crate) struct Hold {
    #[command(subcommand)]
    pub(crate) what: Held,
}

/// What is held or let go.
#[derive(Debug, Subcommand)]
pub(crate) enum Held {
    /// A queue, by name
    Queue(Named),
    /// All runs of a workflow, by its name
    Workflow(Named),
    /// One run: its id, the beginning of it that no other has, or `latest`
    Run(Named),
}

#[derive(Args, Debug)]
pub(crate) struct Named {
    /// Which
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

pub(super) const PAUSE_EXAMPLES: &str = "\
Examples:
  unknot pause queue default
      No task of that queue starts until `unknot resume queue default`. What runs goes on.
  unknot pause workflow nightly
      The same for all runs of a workflow, also those to come.
  unknot pause run latest
      The same for one run. Its time-out goes on.";

pub(super) const RESUME_EXAMPLES: &str = "\
Examples:
  unknot resume queue default
  unknot resume workflow nightly
  unknot resume run latest
      What was not held goes on as before.";

#[derive(Args, Debug)]
pub(crate) struct Top {
    /// Print one JSON object and end
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

pub(super) const TOP_EXAMPLES: &str = "\
Examples:
  unknot top
      Looks each second. `q` or Ctrl-C ends it.
  unknot top > now.txt
      Where there is no terminal: once, and done.
  watch -n 60 'unknot top --json | jq .stats.unfinished_runs'
      For programs.";

#[derive(Args, Debug)]
pub(crate) struct Listing {
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

pub(super) const QUEUES_EXAMPLES: &str = "\
Examples:
  unknot queues
      What stands where, since when, and what is held.
  unknot queues --json | jq -r 'select(.size > 1000) | .name'
      For programs.";

pub(super) const WORKERS_EXAMPLES: &str = "\
Examples:
  unknot workers
      Who performs attempts, and how many at once.";

#[derive(Args, Debug)]
pub(crate) struct Dead {
    #[command(subcommand)]
    pub(crate) command: DeadCommand,
}

/// What can be done with tasks that are out of tries.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List them, those of the newest runs first
    Ls {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
        limit: usize,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one: why it failed, and the end of its log
    Show {
        /// The task's id
        #[arg(value_name = "TASK")]
        task: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Try one again, in a new run that takes over what the old one completed
    Redrive {
        /// The task's id
        #[arg(value_name = "TASK")]
        task: String,
        #[command(flatten)]
        at: At,
    },
    /// Forget one; its run is not touched
    Drop {
        /// The task's id
        #[arg(value_name = "TASK")]
        task: String,
        #[command(flatten)]
        at: At,
    },
}

pub(super) const DEAD_EXAMPLES: &str = "\
Examples:
  unknot dead ls
      Tasks that are out of tries, how their runs stand, and which of them are handled: their workflow
      says what follows their failure.
  unknot dead show task_01JBX….3
      Why, and what it printed last.
  unknot dead redrive task_01JBX….3
      What it broke on is mended: a new run goes on from there.
  unknot dead drop task_01JBX….3
      Somebody has seen to it.";

#[derive(Args, Debug)]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

/// What can be done with tokens. They are files in the data folder: no server need be there, and one that is takes
/// a change at once.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make one and print it, this once
    New {
        /// What it is called in lists and in the history of what its owner does
        #[arg(value_name = "NAME")]
        name: String,
        /// What it may do
        #[arg(long, value_enum, default_value_t = TokenScope::Read)]
        scope: TokenScope,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// List names and scopes
    Ls {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Take one away: who uses it is not let in any more
    Rm {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// What a token lets its owner do; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenScope {
    /// Look
    Read,
    /// Run registered workflows
    Submit,
    /// Run any workflow, cancel, retry, pause
    Operate,
    /// Everything
    Admin,
}

pub(super) const TOKEN_EXAMPLES: &str = "\
Examples:
  unknot token new grafana
      Makes a token that may look, and prints it. Only its hash is kept.
  UNKNOT_TOKEN=$(unknot token new ci --scope operate) …
      One that may run workflows that come with the request.
  unknot token ls
  unknot token rm grafana";
