//! How lists are printed; and `unknot queues|workers`: what a server has of each.

use crate::{
    args::Listing,
    error::Error,
    exit::Exit,
    output::{Paint, Tone, thousands},
    remote::Remote,
    source::stamp,
    table::{Cell, Column, Table},
    terminal, time,
};
use serde::Serialize;
use serde_json::json;
use std::io::Write;
use unknot_api::rest;
use unknot_engine::{
    Clock,
    core::{Timestamp, worker::WorkKind},
};

/// Lists queues.
pub(crate) fn queues(listing: &Listing, out: &mut dyn Write) -> Result<Exit, Error> {
    let remote = Remote::find(&listing.at)?;
    let found = remote.ask("list the queues", remote.client().queues())?;
    let now = Clock::starting_at_least(Timestamp::default()).now();
    print(listing.json, &found, "queues", || queue_table(&found, now), out)
}

/// Lists workers.
pub(crate) fn workers(listing: &Listing, out: &mut dyn Write) -> Result<Exit, Error> {
    let remote = Remote::find(&listing.at)?;
    let found = remote.ask("list the workers", remote.client().workers())?;
    print(listing.json, &found, "workers: `unknot worker` starts one", || whole_worker_table(&found), out)
}

/// Prints any list: for programs an object a line, so that nothing is printed of an empty one; for people a table, or
/// that there is none, and what would make one.
pub(super) fn print<T: Serialize>(
    is_json: bool,
    found: &[T],
    none: &str,
    table: impl FnOnce() -> Table,
    out: &mut dyn Write,
) -> Result<Exit, Error> {
    if is_json {
        for one in found {
            writeln!(out, "{}", json!(one))?;
        }
    } else if found.is_empty() {
        writeln!(out, "no {none}")?;
    } else {
        table().write(out, Paint::for_stdout(), 0, terminal::size().columns)?;
    }
    Ok(Exit::Success)
}

/// Queues with what stands in them.
pub(super) fn queue_table<'q>(queues: impl IntoIterator<Item = &'q rest::Queue>, now: Timestamp) -> Table {
    let mut table = Table::new(&[
        ("QUEUE", Column::Shrinks(8)),
        ("SIZE", Column::Right),
        ("OLDEST", Column::Right),
        ("", Column::Shrinks(3)),
    ]);
    for queue in queues {
        let oldest = queue.oldest_since.map(|since| time::length(now.since(stamp(since)))).unwrap_or_default();
        let held = queue
            .paused
            .as_ref()
            .map(|paused| format!("held by {} for {}", paused.by, time::length(now.since(stamp(paused.since)))));
        table.row(vec![
            queue.name.as_str().into(),
            thousands(queue.size).into(),
            oldest.into(),
            Cell::new(Tone::Warn, held.unwrap_or_default()),
        ]);
    }
    table
}

/// Workers with what they have at work.
pub(super) fn worker_table(workers: &[rest::Worker]) -> Table {
    let mut table = Table::new(&AT_WORK);
    workers.iter().for_each(|worker| table.row(at_work(worker)));
    table
}

/// The same, with what each takes and what people should know of it.
fn whole_worker_table(workers: &[rest::Worker]) -> Table {
    let more = [("QUEUES", Column::Shrinks(6)), ("KINDS", Column::Shrinks(5)), ("LABELS", Column::Wraps(8))];
    let mut table = Table::new(&[&AT_WORK[..], &more].concat());
    for worker in workers {
        let queues = worker.queues.as_ref().map_or_else(|| "all".to_owned(), |queues| queues.join(","));
        let is_all = WorkKind::BUILT_IN.iter().all(|kind| worker.kinds.iter().any(|known| known == kind.word()));
        let kinds = if is_all { vec!["all".to_owned()] } else { worker.kinds.clone() };
        let kinds = [kinds, worker.handlers.clone()].concat().join(",");
        let labels: Vec<String> = worker.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let more = [queues.into(), kinds.into(), labels.join(" ").into()];
        table.row(at_work(worker).into_iter().chain(more).collect());
    }
    table
}

const AT_WORK: [(&str, Column); 4] =
    [("WORKER", Column::Shrinks(8)), ("AT WORK", Column::Right), ("SLOTS", Column::Right), ("", Column::Whole)];

fn at_work(worker: &rest::Worker) -> Vec<Cell> {
    vec![
        worker.name.as_str().into(),
        worker.leases.to_string().into(),
        worker.slots.to_string().into(),
        Cell::new(Tone::Live, gauge(worker.leases, worker.slots)),
    ]
}

/// Some of a whole as a bar.
fn gauge(some: u32, whole: u32) -> String {
    const LENGTH: u64 = 16;
    let length = u64::from(whole).clamp(1, LENGTH);
    let filled = (u64::from(some) * length).div_ceil(u64::from(whole.max(1))).min(length);
    let mark = |sign: &str, count: u64| sign.repeat(usize::try_from(count).unwrap_or_default());
    format!("{}{}", mark("━", filled), mark("─", length - filled))
}
