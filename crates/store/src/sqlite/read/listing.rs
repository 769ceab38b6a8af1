//! Lists of runs: two streams in the order of ids, live and finished, merged and filtered.

use super::Snapshot;
use crate::{
    Page, PageSize, RunFilter, RunRecord, RunSummary, StoreError,
    body::{Kind, decode_as},
    sqlite::{fault::store_error, rows::text},
};
use rusqlite::{Rows, ToSql};
use unknot_core::RunId;

/// Most runs looked at for one page, so that a rare match costs several short reads, not a long one.
const LOOKED_AT_MAX: usize = 5_000;

/// See [`crate::Reader::runs`].
pub(super) fn runs(
    snapshot: &Snapshot<'_>,
    filter: &RunFilter,
    after: Option<RunId>,
    size: PageSize,
) -> Result<Page<RunSummary, RunId>, StoreError> {
    let (low, high) = filter.id_range(after);
    let (low, high) = (low.to_string(), high.to_string());
    let plan = FinishedPlan::for_filter(filter);
    let mut live = snapshot.connection.prepare_cached(LIVE).map_err(store_error)?;
    let mut finished = snapshot.connection.prepare_cached(plan.sql).map_err(store_error)?;
    let mut params: Vec<&dyn ToSql> = vec![&snapshot.ns, &low, &high];
    let live_rows = live.query(params.as_slice()).map_err(store_error)?;
    params.extend(plan.values.iter().map(|value| value as &dyn ToSql));
    let finished_rows = finished.query(params.as_slice()).map_err(store_error)?;
    let mut merge = Merge {
        live: Stream::new(filter.wants_live().then_some(live_rows), Kind::Run)?,
        finished: Stream::new(filter.wants_finished().then_some(finished_rows), Kind::Finished)?,
    };

    let mut items = Vec::new();
    let mut last = None;
    for _ in 0..LOOKED_AT_MAX {
        let Some(record) = merge.next()? else { return Ok(Page { items, next: None }) };
        snapshot.look_at_the_clock()?;
        let summary = record.summary();
        last = Some(summary.id);
        if filter.accepts(&summary) {
            items.push(summary);
        }
        if items.len() == size.items() {
            break;
        }
    }
    Ok(Page { items, next: last.filter(|_| !merge.is_over()) })
}

const LIVE: &str = "SELECT body FROM run WHERE ns = ?1 AND run_id >= ?2 AND run_id < ?3 ORDER BY run_id DESC";

/// How the finished runs are walked: by the index that is likely to leave out the most.
struct FinishedPlan<'a> {
    sql: &'static str,
    /// The parameters from `?4` on.
    values: Vec<&'a str>,
}

impl<'a> FinishedPlan<'a> {
    fn for_filter(filter: &'a RunFilter) -> Self {
        if let Some((name, value)) = &filter.label {
            let sql = "SELECT f.body FROM finished_label l CROSS JOIN finished f ON f.ns = l.ns AND f.run_id = l.run_id
                        WHERE l.ns = ?1 AND l.run_id >= ?2 AND l.run_id < ?3 AND l.name = ?4 AND l.value = ?5
                        ORDER BY l.run_id DESC";
            return Self { sql, values: vec![name, value] };
        }
        if let Some(client) = &filter.client_id {
            let sql = "SELECT body FROM finished INDEXED BY finished_by_client
                        WHERE ns = ?1 AND run_id >= ?2 AND run_id < ?3 AND client_id = ?4 ORDER BY run_id DESC";
            return Self { sql, values: vec![client] };
        }
        if let Some(workflow) = &filter.workflow {
            let sql = "SELECT body FROM finished INDEXED BY finished_by_workflow
                        WHERE ns = ?1 AND run_id >= ?2 AND run_id < ?3 AND workflow = ?4 ORDER BY run_id DESC";
            return Self { sql, values: vec![workflow] };
        }
        let sql = "SELECT body FROM finished WHERE ns = ?1 AND run_id >= ?2 AND run_id < ?3 ORDER BY run_id DESC";
        Self { sql, values: Vec::new() }
    }
}

/// Both streams as one, the highest id first.
struct Merge<'a> {
    live: Stream<'a>,
    finished: Stream<'a>,
}

impl Merge<'_> {
    fn next(&mut self) -> Result<Option<RunRecord>, StoreError> {
        let live_is_next = match (&self.live.head, &self.finished.head) {
            (Some(live), Some(finished)) => live.id() > finished.id(),
            (live, _) => live.is_some(),
        };
        if live_is_next { self.live.take() } else { self.finished.take() }
    }

    fn is_over(&self) -> bool {
        self.live.head.is_none() && self.finished.head.is_none()
    }
}

/// The rows of one table, one read ahead.
struct Stream<'a> {
    rows: Option<Rows<'a>>,
    kind: Kind,
    head: Option<RunRecord>,
}

impl<'a> Stream<'a> {
    fn new(rows: Option<Rows<'a>>, kind: Kind) -> Result<Self, StoreError> {
        let mut stream = Self { rows, kind, head: None };
        stream.take()?;
        Ok(stream)
    }

    /// Gives the row read ahead, and reads the next.
    fn take(&mut self) -> Result<Option<RunRecord>, StoreError> {
        let row = match &mut self.rows {
            Some(rows) => rows.next().map_err(store_error)?,
            None => None,
        };
        let next = match row {
            None => None,
            Some(row) if self.kind == Kind::Run => Some(RunRecord::Live(decode_as(self.kind, text(row, 0)?)?)),
            Some(row) => Some(RunRecord::Finished(decode_as(self.kind, text(row, 0)?)?)),
        };
        if next.is_none() {
            self.rows = None;
        }
        Ok(std::mem::replace(&mut self.head, next))
    }
}
