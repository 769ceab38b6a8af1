//! The schema's version: making it, recognising it, bringing an older one forward.

use super::{backup, connection, fault::open_error, folder::Found};
use crate::{Cause, StoreError};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// Marks the file as ours, for us and for `file(1)`: "UNKT".
pub(super) const APPLICATION_ID: i32 = 0x554E_4B54;

/// A step from one version to the next: SQL, run in one transaction with all that follow.
pub(super) struct Step {
    /// The version that it leads to.
    pub(super) to: u32,
    /// What it does.
    pub(super) sql: &'static str,
}

/// All steps there ever were, from an empty file on. A step is never edited once it is released.
pub(super) const STEPS: &[Step] = &[
    Step { to: 1, sql: concat!(include_str!("schema.sql"), include_str!("views.sql")) },
    Step { to: 2, sql: include_str!("schema-2.sql") },
    Step { to: 3, sql: include_str!("schema-3.sql") },
    Step { to: 4, sql: include_str!("schema-4.sql") },
    Step { to: 5, sql: include_str!("schema-5.sql") },
];

/// What a database says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    application_id: i32,
    version: u32,
    tables: u32,
}

/// Refuses a database that is not ours or is newer than this program. Writes nothing.
///
/// Returns its version; zero for an empty one.
pub(super) fn recognise(connection: &Connection, path: &Path, steps: &[Step]) -> Result<u32, StoreError> {
    let stamp = read_stamp(connection).map_err(|error| open_error(path, error))?;
    let known = newest(steps);
    match stamp {
        Stamp { application_id: APPLICATION_ID, version, .. } if version > known => {
            Err(StoreError::Newer { path: path.into(), found: version, known })
        }
        Stamp { application_id: APPLICATION_ID, version, .. } => Ok(version),
        Stamp { application_id: 0, version: 0, tables: 0 } => Ok(0),
        _ => Err(StoreError::NotAStore {
            path: path.into(),
            detail: "it is a SQLite database of another program".into(),
        }),
    }
}

/// Brings a recognised database to the newest version: in one transaction, and an existing one only
/// once a copy of it stands beside it (`unknot.db.v1.bak`).
pub(super) fn migrate(
    connection: &mut Connection,
    path: &Path,
    found: Found,
    version: u32,
    steps: &[Step],
) -> Result<(), StoreError> {
    let to = newest(steps);
    if version == to {
        return Ok(());
    }
    let failed = |cause: Cause| StoreError::Migration { path: path.into(), from: version, to, cause };
    if found == Found::Something && version > 0 {
        back_up_first(connection, path, version).map_err(|error| failed(error.into()))?;
    }
    let apply = |connection: &mut Connection| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for step in steps.iter().filter(|step| step.to > version) {
            transaction.execute_batch(step.sql)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", to)?;
        transaction.commit()
    };
    apply(connection).map_err(|error| match version {
        0 => open_error(path, error),
        _ => failed(error.into()),
    })
}

/// Copies the database beside it, under the first name that is free. A copy from an earlier try will do
/// if nothing was committed since; an older one is somebody's way back, and is kept.
fn back_up_first(connection: &Connection, path: &Path, version: u32) -> Result<(), StoreError> {
    let failed = |error| open_error(path, error);
    let now = progress(connection).map_err(failed)?;
    let mut target = path.with_extension(format!("db.v{version}.bak"));
    let mut number = 1;
    while target.exists() {
        if connection::reader(&target).is_ok_and(|copy| progress(&copy).is_ok_and(|then| then == now)) {
            return Ok(());
        }
        number += 1;
        target = path.with_extension(format!("db.v{version}.{number}.bak"));
    }
    backup::copy(connection, &target, &mut |_| crate::BackupStep::Continue(()))
}

/// How far a store has come: its starts and its commits, which only grow.
fn progress(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let sql = "SELECT coalesce(sum(epoch), 0), coalesce(sum(commit_seq), 0) FROM namespace";
    connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn newest(steps: &[Step]) -> u32 {
    steps.last().map(|step| step.to).unwrap_or_default()
}

fn read_stamp(connection: &Connection) -> rusqlite::Result<Stamp> {
    Ok(Stamp {
        tables: connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
        application_id: connection.query_row("PRAGMA application_id", [], |row| row.get(0))?,
        version: connection.query_row("PRAGMA user_version", [], |row| row.get(0))?,
    })
}

/// Refuses a store that a reader cannot read as it is: readers bring nothing forward.
pub(super) fn require_current(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let known = newest(STEPS);
    match recognise(connection, path, STEPS)? {
        0 => Err(StoreError::Missing { path: path.into() }),
        version if version == known => Ok(()),
        version => {
            let cause: Cause =
                format!("it has schema version {version}; start a server on it to bring it to {known}").into();
            Err(StoreError::Open { path: path.into(), cause })
        }
    }
}
