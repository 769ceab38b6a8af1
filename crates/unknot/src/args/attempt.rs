//! What can be typed inside a task.

use super::{label, length};
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::ffi::OsString;
use unknot_api::Duration as Length;

/// What happens when a wait is not over in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Then {
    /// This command ends with 75, and the task goes on without
    #[default]
    GiveUp,
    /// The task is stopped, as if it had been out of time
    Stop,
}

/// What is done about a deadlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnDeadlock {
    /// The victim is stopped and tried again
    Retry,
    /// The victim's run is cancelled
    Cancel,
    /// Somebody is told
    Alert,
}

/// How long to wait.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// Wait no longer than that [default: as long as the task may run]
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    pub(crate) within: Option<Length>,
    /// What happens then
    #[arg(long, value_enum, default_value_t)]
    pub(crate) then: Then,
}

/// A lock, or units of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Units {
    /// Its name.
    pub(crate) name: String,
    /// How many, if that was said.
    pub(crate) units: Option<u32>,
}

/// `gpu`, `render=2`.
fn units(given: &str) -> Result<Units, String> {
    let (name, units) = match given.split_once('=') {
        Some((name, units)) => (name, units.parse().ok().filter(|units| *units > 0).map(Some)),
        None => (given, Some(None)),
    };
    let units = units.filter(|_| !name.is_empty());
    let expected = "expected the name of a lock, or of a pool with a number of units: `gpu`, `render=2`";
    units.map(|units| Units { name: name.to_owned(), units }).ok_or_else(|| expected.to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct Lock {
    /// Locks, and units of pools: all of them at once, or none
    #[arg(value_name = "NAME[=UNITS]", required = true, value_parser = units)]
    pub(crate) names: Vec<Units>,
    /// So many units of each that does not say
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) units: u32,
    /// One of them is enough; which one it is, is printed
    #[arg(long)]
    pub(crate) any: bool,
    #[command(flatten)]
    pub(crate) bound: Bound,
    /// A command to be run meanwhile: what was acquired is given back when it ends, however that is; processes that it
    /// leaves behind go on without
    #[arg(value_name = "COMMAND", last = true, value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
}

pub(super) const LOCK_EXAMPLES: &str = "\
For scripts that are tasks: it is the task's attempt that holds the lock.

Examples:
  unknot lock gpu -- ./train.sh
      Waits for the lock `gpu`, runs the script, and gives the lock back. TERM and other signals are passed on.
  unknot lock gpu && ./prepare && unknot unlock gpu
      Without a command: the lock is held until `unknot unlock gpu`, or until the attempt ends, however it does.
  unknot lock db-a db-b --within 10m -- ./copy
      Both at once, never one of them alone: two scripts that do so cannot wait for each other. After 10 minutes: 75.
  unknot lock render=2 scratch -- make frames
      Two units of the pool `render`, and a lock, all at once. `--units 2` says the same of every name.
  printer=$(unknot lock --any printer-1 printer-2)
      One of them, and which. With a command it is in its variable UNKNOT_LOCK.

A lock needs no configuration. While the server is started anew, this goes on asking, and stays where it stood in line.

Exit status:
  that of COMMAND; 127 if it cannot be started
  75  not in time (`--within`)
  1   the attempt gets nothing any more, and nobody ended this command
  2   the command line, the lock or the pool cannot be used; or this is no task
  5   the system stands in the way
  128 + N  ended by signal N while it waited: it waits no more";

#[derive(Args, Debug)]
pub(crate) struct Unlock {
    /// Locks, and units of pools
    #[arg(value_name = "NAME[=UNITS]", required = true, value_parser = units)]
    pub(crate) names: Vec<Units>,
    /// So many units of each that does not say
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) units: u32,
}

pub(super) const UNLOCK_EXAMPLES: &str = "\
Examples:
  unknot unlock gpu
      Gives back what `unknot lock gpu`, or `locks: [gpu]` of the task itself, has acquired.
  unknot unlock render=2
      Two units of a pool.

Whatever is still held is given back when the attempt ends.

Exit status: 0 given back, 1 the attempt gets nothing any more, or has lent it to the runs that it waits for, 2 it does not
hold that, or this is no task.";

#[derive(Args, Debug)]
pub(crate) struct Wait {
    /// A lock, which is acquired; may be repeated, as may all conditions
    #[arg(long, value_name = "NAME")]
    pub(crate) lock: Vec<String>,
    /// Units of a pool, which are acquired
    #[arg(long, value_name = "NAME[=UNITS]", value_parser = units)]
    pub(crate) pool: Vec<Units>,
    /// The end of a run that the task has spawned; `:success`: only that it has completed
    #[arg(long, value_name = "KEY[:success]")]
    pub(crate) child: Vec<String>,
    /// The end of every run that the task has spawned and that is not detached
    #[arg(long)]
    pub(crate) children: bool,
    /// A signal to the task's run; with TASKs: only these tasks of it will send it
    #[arg(long, value_name = "NAME[:TASK,…]")]
    pub(crate) signal: Vec<String>,
    /// So long from now
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    pub(crate) timer: Vec<Length>,
    /// All of them (which is usual)
    #[arg(long, conflicts_with_all = ["any", "at_least"])]
    pub(crate) all: bool,
    /// The first of them that holds
    #[arg(long, conflicts_with = "at_least")]
    pub(crate) any: bool,
    /// So many of them
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) at_least: Option<u32>,
    /// One more condition, as JSON, for what is nested
    #[arg(long = "for", value_name = "JSON")]
    pub(crate) expressions: Vec<String>,
    #[command(flatten)]
    pub(crate) bound: Bound,
}

pub(super) const WAIT_EXAMPLES: &str = "\
For scripts that are tasks: it is the task's attempt that waits, so that `unknot why` can say for whom.

Examples:
  unknot wait --signal approve --within 1h | jq .signals.approve
      Waits for a person: `unknot signal send RUN approve '{\"pages\": 4}'`.
  unknot wait --child part-1:success --child part-2:success
      Waits for runs that `unknot spawn` has begun. What they give is printed.
  unknot wait --children --within 2h
      Waits for all of them, however they end.
  unknot wait --signal stop --timer 10m --any
      Whichever comes first.
  unknot wait --lock a --lock b --lock c --at-least 2
      Two of three locks; the answer says which.
  unknot wait --for '{\"any\": [{\"all\": [{\"lock\": \"a\"}, {\"lock\": \"b\"}]}, {\"timer\": \"1h\"}]}'
      Anything that is nested, up to 8 deep.

Prints one JSON object: `outcome` (`met`, `timed_out`, `impossible`), `granted` (units by lock or pool, which are the
attempt's from now on: `unknot unlock` gives them back), `signals` (what they said) and `children` (how they ended, and
what they give). An attempt has one wait at a time: of several processes of a task that wait, one does, and the others stand
in line within their own time. What it lends to its runs it goes on with only once that is back, also after `--within`.

Exit status: 0 it holds, 75 not in time, 1 it can not hold any more (a child did not succeed), or the attempt gets
nothing any more; 2 it cannot be waited for, or this is no task; 5 the system stands in the way; 128 + N ended by
signal N.";

#[derive(Args, Debug)]
pub(crate) struct Spawn {
    /// A workflow file, or the name of a workflow: one that the task's run may call, or a registered one
    #[arg(value_name = "WORKFLOW|FILE", value_hint = ValueHint::FilePath)]
    pub(crate) workflow: String,
    /// The run's key: the same key finds the same run, also when the task is tried again, unless that run failed [default:
    /// the workflow's name and a digest of the inputs]
    #[arg(long, value_name = "TEXT", value_parser = child_key)]
    pub(crate) key: Option<String>,
    /// An input, or a JSON file of inputs; may be repeated, the last one wins
    #[arg(short, long, value_name = "KEY=VALUE|@FILE")]
    pub(crate) input: Vec<String>,
    /// Inputs as one JSON object; those of `--input` come on top
    #[arg(long, value_name = "JSON")]
    pub(crate) input_json: Option<String>,
    /// A label; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// Let it go on when the task ends before it
    #[arg(long, conflicts_with = "wait")]
    pub(crate) detach: bool,
    /// Wait for its end, and print what it gives instead of its id
    #[arg(short, long)]
    pub(crate) wait: bool,
    /// With `--wait`: wait no longer than that [default: as long as the task may run]
    #[arg(long, value_name = "LENGTH", value_parser = length, requires = "wait")]
    pub(crate) within: Option<Length>,
}

fn child_key(given: &str) -> Result<String, String> {
    let fits = (1..=unknot_engine::core::run::NAME_MAX).contains(&given.len());
    fits.then(|| given.to_owned()).ok_or_else(|| "a key has 1 to 100 characters".to_owned())
}

pub(super) const SPAWN_EXAMPLES: &str = "\
For scripts that are tasks: the run belongs to the task, is cancelled with it, and gets its slot and what it holds of
pools that lend while the task waits for it.

Examples:
  unknot spawn render -i frame=7
      Begins a run of the workflow `render`, and prints its id.
  unknot spawn render.yaml -i frame=7 --wait
      Waits until it has completed, and prints its output as JSON.
  for f in 1 2 3; do unknot spawn render -i frame=$f --key frame-$f; done
  unknot wait --child frame-1:success --child frame-2:success --child frame-3:success
      Three at once, and their ends: 1 if one of them did not complete.
  unknot spawn nightly --detach
      One that goes on by itself.

The same key finds the same run: a task that is tried again waits for the runs that the try before it has begun. Only those
that did not complete for an earlier try are begun anew.

Exit status: 0 it exists; with `--wait` as `unknot run`: 0 COMPLETED, 1 FAILED, 3 CANCELLED, 4 TIMED_OUT, 75 not in
time; 2 the workflow or its inputs cannot be used, or this is no task; 5 the system stands in the way.";

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Pools {
    #[command(subcommand)]
    pub(crate) command: Option<PoolsCommand>,
    #[command(flatten)]
    pub(crate) listing: super::Listing,
}

/// What can be done with pools.
#[derive(Debug, Subcommand)]
pub(crate) enum PoolsCommand {
    /// Make a pool, or give it another size
    Set {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// How many units it has
        #[arg(value_name = "SIZE", value_parser = clap::value_parser!(u32).range(1..))]
        size: u32,
        /// Whether a task that waits for runs that it spawned lends them what it holds [default: as it is]
        #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
        lend: Option<bool>,
        /// What is done about a deadlock whose victim holds some of it, unless its workflow says [default: as it is]
        #[arg(long, value_name = "POLICY")]
        on_deadlock: Option<OnDeadlock>,
        #[command(flatten)]
        at: super::At,
    },
    /// Remove a pool or lock that nobody holds or needs
    Remove {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        at: super::At,
    },
}

pub(super) const POOLS_EXAMPLES: &str = "\
Examples:
  unknot pools
      How many units there are, who holds them, who waits for them, and which are closed because a holder could not be
      confirmed dead.
  unknot pools set render 4 --lend
      Makes it, or gives it that size, at once and for good. Fewer than are held takes nothing away: nothing more is
      granted until enough is given back. A pool that `unknot.yaml` names has the size that stands there again with the
      next start or reload.
  unknot pools set render 6 --on-deadlock alert
      What is not said stays as it is; of what is done about a deadlock here, nothing but telling people.
  unknot pools remove render
      Once nobody holds or needs any of it.
  unknot pools --json | jq 'select(.waiting > 0) | {name, holders}'
      For programs.

Exit status: 0 done, 1 somebody holds or needs it, 2 there is no such pool or it cannot be so, 5 the server stands in the
way.";
