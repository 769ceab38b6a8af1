//! What a script asks for inside a task: `lock`, `unlock`, `wait`, `spawn`.

use super::key;
use clap::{Args, ValueEnum, ValueHint};
use std::ffi::OsString;
use unknot_api::{Duration, rest};

/// What happens when a wait is not over in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Then {
    /// The command ends with 75, and the script goes on
    #[default]
    GiveUp,
    /// The whole attempt is stopped, as if it had been out of time
    Stop,
}

impl From<Then> for rest::AtDeadline {
    fn from(then: Then) -> Self {
        match then {
            Then::GiveUp => Self::GiveUp,
            Then::Stop => Self::Stop,
        }
    }
}

/// Units of a pool as they are typed: `render=2`, or `gpu` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Units {
    pub(crate) pool: String,
    pub(crate) units: u32,
}

fn units(given: &str) -> Result<Units, String> {
    let (pool, units) = match given.split_once('=') {
        Some((pool, units)) => (pool, units.parse().ok().filter(|units| *units > 0)),
        None => (given, Some(1)),
    };
    match (pool.is_empty(), units) {
        (false, Some(units)) => Ok(Units { pool: pool.to_owned(), units }),
        _ => Err("expected the name of a lock, or of a pool with a number of units: `gpu`, `render=2`".to_owned()),
    }
}

fn length(given: &str) -> Result<Duration, String> {
    Duration::parse(given).ok_or_else(|| "expected a length of time such as `30s`, `10m`, `2h`".to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct Lock {
    /// Locks, and units of pools: all of them at once, or none
    #[arg(value_name = "NAME[=UNITS]", required = true, value_parser = units)]
    pub(crate) names: Vec<Units>,
    /// One of them is enough: the first that is free
    #[arg(long)]
    pub(crate) any: bool,
    /// How long to wait at most [default: as long as the attempt may run]
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub(crate) within: Option<Duration>,
    /// What happens then
    #[arg(long, value_enum, default_value_t)]
    pub(crate) then: Then,
    /// Print one JSON object
    #[arg(long, conflicts_with = "command")]
    pub(crate) json: bool,
    /// Run this while they are held, and give them back
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
}

pub(crate) const LOCK_EXAMPLES: &str = "\
Examples, in a task's script:
  unknot lock gpu -- python3 train.py
      Waits for the lock, runs the command, gives the lock back whatever happens. The exit status is the command's.
  unknot lock gpu disk
      Both at once or none. They are held until `unknot unlock`, or until the task's attempt ends, however it ends.
  unknot lock render=2 --within 10m || exit 1
      Two units of a pool. Not free within ten minutes: 75.
  unknot lock --any gpu-0 gpu-1
      The first that is free; it is printed.

A name that is no pool of the configuration is a lock: one unit, made by its first use. While it waits, the task is WAITING;
`unknot why` says for what and who has it. If attempts wait for one another in a ring, that is proved at once, and one of
them is stopped and made again (`deadlock.cancel_on_deadlock`).

Exit status: 0, or the command's; 75 if the time was over; 1 if it cannot be had any more; 2 if it can never be, or this is no
task's script; 5 if nobody answers.";

#[derive(Args, Debug)]
pub(crate) struct Unlock {
    /// Locks, and units of pools
    #[arg(value_name = "NAME[=UNITS]", required = true, value_parser = units)]
    pub(crate) names: Vec<Units>,
}

pub(crate) const UNLOCK_EXAMPLES: &str = "\
Examples, in a task's script:
  unknot unlock gpu
      Gives the lock back. What is not given back is free when the attempt ends.
  unknot unlock render=1
      One unit of those that are held.

Also what the task itself declares under `locks:` and `pools:` can be given back early.

Exit status: 0; 2 if it is not held, or this is no task's script; 5 if nobody answers.";

#[derive(Args, Debug)]
pub(crate) struct Wait {
    /// A lock
    #[arg(long, value_name = "NAME")]
    pub(crate) lock: Vec<String>,
    /// Units of a pool
    #[arg(long, value_name = "NAME[=UNITS]", value_parser = units)]
    pub(crate) pool: Vec<Units>,
    /// The end of a run that the task has spawned, by its key; `KEY:success`: only a good one
    #[arg(long, value_name = "KEY[:success]")]
    pub(crate) child: Vec<String>,
    /// A signal to the task's run; `NAME:TASK,…`: from one of these tasks alone
    #[arg(long, value_name = "NAME[:TASK,…]")]
    pub(crate) signal: Vec<String>,
    /// So long
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub(crate) timer: Vec<Duration>,
    /// Any nested expression, as JSON; see the examples
    #[arg(long = "for", value_name = "JSON")]
    pub(crate) expression: Vec<String>,
    /// One of them is enough
    #[arg(long, conflicts_with = "at_least")]
    pub(crate) any: bool,
    /// So many of them are enough
    #[arg(long, value_name = "K")]
    pub(crate) at_least: Option<u32>,
    /// How long to wait at most [default: as long as the attempt may run]
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub(crate) within: Option<Duration>,
    /// What happens then
    #[arg(long, value_enum, default_value_t)]
    pub(crate) then: Then,
}

pub(crate) const WAIT_EXAMPLES: &str = "\
Examples, in a task's script:
  unknot wait --signal approve --within 2h
      For a signal to the task's run: `unknot signal send RUN approve`. Prints what came, as JSON.
  unknot wait --child part-1:success --child part-2:success
      For two runs that were spawned. Should one not end well, this ends at once, with 1.
  unknot wait --any --signal stop --timer 10m
      For whichever comes first.
  unknot wait --for '{\"any\": [{\"lock\": \"gpu\"}, {\"all\": [{\"pool\": \"cpu\", \"units\": 4}, {\"timer\": \"5m\"}]}]}'
      For any nested expression of `lock`, `pool`, `child`, `signal`, `timer`, `all`, `any`, `at_least`.

What stands side by side must hold together, unless `--any` or `--at-least` says otherwise. Locks and units that came are
the attempt's: give them back with `unknot unlock`. A task that waits for its runs lends them its slot.

Exit status: 0 if it holds; 75 if the time was over; 1 if it can not hold any more; 2 if it can never hold, or this is no task's
script; 5 if nobody answers.";

#[derive(Args, Debug)]
pub(crate) struct Spawn {
    /// The name of a workflow, or a file
    #[arg(value_name = "WORKFLOW", value_hint = ValueHint::FilePath)]
    pub(crate) workflow: String,
    /// Known to the task by this key: the same key finds the same run [default: the workflow's name]
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub(crate) key: Option<String>,
    /// An input, or a JSON file of inputs; may be repeated, the last one wins
    #[arg(short, long, value_name = "KEY=VALUE|@FILE")]
    pub(crate) input: Vec<String>,
    /// It goes on when the task ends before it
    #[arg(long)]
    pub(crate) detach: bool,
    /// Wait until it has succeeded, and print its output
    #[arg(long, conflicts_with = "detach")]
    pub(crate) wait: bool,
}

pub(crate) const SPAWN_EXAMPLES: &str = "\
Examples, in a task's script:
  unknot spawn page -i section=3 --key page-3
      Spawns a run of workflow `page`, and prints its id. `unknot wait --child page-3` waits for its end.
  unknot spawn ./flows/page.yaml --wait
      From a file; waits until it has succeeded, and prints its output as JSON. Meanwhile the task lends it its slot.

A task that is tried again finds the runs that it has spawned, by their keys. When the task ends, they are cancelled, unless
they are detached.

Exit status: 0; with --wait 1 if the run does not succeed; 2 if there is no such workflow, or this is no task's script; 5 if nobody
answers.";
