//! `unknot pools`: who holds pools and locks, and who waits; they are made, resized and removed while everything runs.

use super::list::print;
use crate::{
    args::{self, Pools, PoolsCommand},
    error::Error,
    exit::Exit,
    output::Tone,
    remote::Remote,
    source::stamp,
    table::{Cell, Column, Table},
    time,
};
use std::io::Write;
use unknot_api::{rest, workflow::OnDeadlock};
use unknot_engine::{Clock, core::Timestamp};

/// Lists, or does what was asked for.
pub(crate) fn perform(asked: &Pools, out: &mut dyn Write) -> Result<Exit, Error> {
    match &asked.command {
        None => {
            let listing = &asked.listing;
            let remote = Remote::find(&listing.at)?;
            let found = remote.ask("list the pools", remote.client().pools())?;
            let now = Clock::starting_at_least(Timestamp::default()).now();
            if listing.json {
                return print(true, &found, "", || table(&found, now), out);
            }
            let (idle, shown): (Vec<_>, Vec<_>) = found.into_iter().partition(is_idle);
            let none = if idle.is_empty() { "pools or locks" } else { "pools or locks are in use" };
            let printed = print(false, &shown, none, || table(&shown, now), out)?;
            if !idle.is_empty() {
                writeln!(out, "locks that were used and are nobody's now: {} (`--json` names them)", idle.len())?;
            }
            Ok(printed)
        }
        Some(PoolsCommand::Set { name, size, lend, on_deadlock, at }) => {
            let remote = Remote::find(at)?;
            let on_deadlock = on_deadlock.map(|policy| match policy {
                args::OnDeadlock::Retry => OnDeadlock::Retry,
                args::OnDeadlock::Cancel => OnDeadlock::Cancel,
                args::OnDeadlock::Alert => OnDeadlock::Alert,
            });
            let request = rest::PoolRequest { size: *size, lend: *lend, on_deadlock };
            let pool = remote.ask(format!("set pool `{name}`"), remote.client().set_pool(name, &request))?;
            let lends = if pool.lend { ", lent by those who wait for their runs" } else { "" };
            let units = if pool.size == 1 { "unit" } else { "units" };
            writeln!(out, "{} has {} {units}, {} held{lends}", pool.name, pool.size, pool.held)?;
            Ok(Exit::Success)
        }
        Some(PoolsCommand::Remove { name, at }) => {
            let remote = Remote::find(at)?;
            let removed = remote.ask(format!("remove pool `{name}`"), remote.client().remove_pool(name))?;
            writeln!(out, "{} is removed", removed.name)?;
            if removed.is_configured {
                writeln!(out, "note: the configuration names it: it comes back at the next start or reload")?;
            }
            Ok(Exit::Success)
        }
    }
}

/// Those who hold, and those who wait, that are named of each pool; `--json` has more of them.
const NAMED_MAX: usize = 5;

/// A lock of first use that nobody has.
fn is_idle(pool: &rest::Pool) -> bool {
    pool.by_first_use && pool.held == 0 && pool.waiting == 0 && pool.poisoned.is_none()
}

/// Those who hold and wait are named in lines of their own below the pool.
fn table(pools: &[rest::Pool], now: Timestamp) -> Table {
    let columns = [
        ("POOL", Column::Shrinks(8)),
        ("HELD", Column::Right),
        ("SIZE", Column::Right),
        ("WAITING", Column::Right),
        ("", Column::Shrinks(3)),
    ];
    let mut table = Table::new(&columns);
    for pool in pools {
        let closed = pool.poisoned.as_ref().map(|why| format!("closed: {why}")).unwrap_or_default();
        let waiting = if pool.waiting == 0 { String::new() } else { pool.waiting.to_string() };
        table.row(vec![
            pool.name.as_str().into(),
            pool.held.to_string().into(),
            pool.size.to_string().into(),
            waiting.into(),
            Cell::new(Tone::Bad, closed),
        ]);
        let named = |shares: &[rest::PoolShare], verb, all: u64| {
            let mut lines: Vec<_> = shares.iter().take(NAMED_MAX).map(|share| line(share, verb, now)).collect();
            match all.saturating_sub(lines.len() as u64) {
                0 => {}
                more => lines.push(format!("and {more} more")),
            }
            lines
        };
        let holders = named(&pool.holders, "holds", pool.holders.len() as u64);
        for line in holders.into_iter().chain(named(&pool.waiters, "waits for", pool.waiting)) {
            table.row(vec!["".into(), "".into(), "".into(), "".into(), line.into()]);
        }
    }
    table
}

fn line(share: &rest::PoolShare, verb: &str, now: Timestamp) -> String {
    let rest::PoolShare { run_id, task, workflow_name, units, since, .. } = share;
    let since = time::length(now.since(stamp(*since)));
    format!("{workflow_name}/{task} {verb} {units} for {since}, {run_id}")
}
