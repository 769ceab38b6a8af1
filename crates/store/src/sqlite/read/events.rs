//! A run's history, found again among the histories of commits.

use super::Snapshot;
use crate::{
    Event, EventCursor, Page, PageSize, RunRecord, StoreError,
    body::decode_history,
    changes::HISTORY_WINDOW,
    sqlite::{
        int,
        rows::{number, text},
    },
};
use unknot_core::{CommitSeq, RunId};

/// See [`crate::Reader::events`].
///
/// The commits up to [`HISTORY_WINDOW`] after the run's first are looked through; those beyond that
/// have lines of this run are listed in `run_commit`.
pub(super) fn events(
    snapshot: &Snapshot<'_>,
    run: RunId,
    after: Option<EventCursor>,
    size: PageSize,
) -> Result<Page<Event, EventCursor>, StoreError> {
    let Some(record) = snapshot.record(run)? else { return Ok(Page { items: Vec::new(), next: None }) };
    let mut search = Search { run, needle: run.to_string(), after, wanted: size.items() + 1, found: Vec::new() };
    let from = after.unwrap_or_default().commit;
    let first = record.run().first_commit;
    let window_end = first.0.saturating_add(HISTORY_WINDOW);
    let window_end = match &record {
        RunRecord::Live(_) => window_end,
        RunRecord::Finished(finished) => window_end.min(finished.last_commit.0),
    };

    let sql = "SELECT commit_seq, body FROM history WHERE ns = ?1 AND commit_seq BETWEEN ?2 AND ?3 ORDER BY commit_seq";
    let near = (snapshot.ns, int(first.0.max(from.0)), int(window_end));
    snapshot.each(sql, near, |row| search.look_through(row))?;
    let sql = "SELECT h.commit_seq, h.body FROM run_commit c
                 CROSS JOIN history h ON h.ns = c.ns AND h.commit_seq = c.commit_seq
                WHERE c.ns = ?1 AND c.run_id = ?2 AND c.commit_seq >= ?3 ORDER BY c.commit_seq LIMIT ?4";
    if search.found.len() < search.wanted {
        // Each of these commits has a line of the run, but those of the first may lie before the cursor.
        let far = (snapshot.ns, run.to_string(), int(from.0), int(search.wanted as u64 + 1));
        snapshot.each(sql, far, |row| search.look_through(row))?;
    }

    let mut page = Page::cut(search.found, size, |event: &Event| event.cursor);
    if page.next.is_none() && matches!(record, RunRecord::Live(_)) {
        page.next = Some(page.items.last().map_or(after.unwrap_or_default(), |event| event.cursor));
    }
    Ok(page)
}

struct Search {
    run: RunId,
    needle: String,
    after: Option<EventCursor>,
    wanted: usize,
    found: Vec<Event>,
}

impl Search {
    /// Takes this run's lines from one commit, unless there are enough. A commit that does not name the
    /// run is not parsed.
    fn look_through(&mut self, row: &rusqlite::Row<'_>) -> Result<(), StoreError> {
        let body = text(row, 1)?;
        if self.found.len() < self.wanted && body.contains(&self.needle) {
            let commit = CommitSeq(number(row, 0)?);
            for (line, entry) in (0u32..).zip(decode_history(commit, body)?) {
                let cursor = EventCursor { commit, line };
                if entry.run == self.run && self.after.is_none_or(|after| cursor > after) {
                    self.found.push(Event { cursor, entry });
                }
            }
        }
        Ok(())
    }
}
