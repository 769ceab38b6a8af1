//! The examination of a whole store: SQLite's structure first, then our own rules.

use super::{
    definition,
    fault::store_error,
    rows::{each_row, number, text},
};
use crate::{
    CheckReport, StoreError,
    body::{Kind, decode, decode_history},
};
use rusqlite::Connection;
use std::collections::BTreeMap;
use unknot_core::{CommitSeq, row::Row, workflow::DefinitionHash};

/// Tables with rows that belong to a run, and where that run must be.
const HOMES: [(&str, &[&str]); 4] = [
    ("task", &["run", "finished", "pruned"]),
    ("dead_letter", &["run", "finished", "pruned"]),
    ("run_commit", &["run", "finished", "pruned"]),
    ("finished_label", &["finished"]),
];

/// See [`crate::Maintenance::check`]. One read transaction covers it all.
pub(super) fn run(connection: &Connection) -> Result<CheckReport, StoreError> {
    let snapshot = connection.unchecked_transaction().map_err(store_error)?;
    let mut check = Check { connection: &snapshot, report: CheckReport::default(), users: BTreeMap::new() };
    check.structure()?;
    if check.report.is_sound() {
        for (ns, commit) in check.namespaces()? {
            check.namespace(ns, commit)?;
        }
    }
    Ok(check.report)
}

struct Check<'a> {
    connection: &'a Connection,
    report: CheckReport,
    /// Runs by the definition that they name.
    users: BTreeMap<String, i64>,
}

impl Check<'_> {
    fn structure(&mut self) -> Result<(), StoreError> {
        let report = &mut self.report;
        each_row(self.connection, "PRAGMA integrity_check(100)", [], |row| {
            match text(row, 0)? {
                "ok" => {}
                problem => report.report(format!("database file: {problem}")),
            }
            Ok(())
        })
    }

    fn namespaces(&self) -> Result<Vec<(i64, CommitSeq)>, StoreError> {
        let mut namespaces = Vec::new();
        each_row(self.connection, "SELECT ns, commit_seq FROM namespace", [], |row| {
            namespaces.push((row.get(0).map_err(store_error)?, CommitSeq(number(row, 1)?)));
            Ok(())
        })?;
        Ok(namespaces)
    }

    fn namespace(&mut self, ns: i64, last: CommitSeq) -> Result<(), StoreError> {
        self.users.clear();
        for kind in Kind::ALL {
            match kind {
                Kind::Definition => self.bodies(ns)?,
                kind => self.rows(ns, kind, last)?,
            }
        }
        self.history(ns, last)?;
        self.definitions(ns)?;
        self.finished_counts(ns)?;
        for (table, homes) in HOMES {
            self.strays(ns, table, homes)?;
        }
        Ok(())
    }

    /// As many finished runs are counted as there are, of each status.
    fn finished_counts(&mut self, ns: i64) -> Result<(), StoreError> {
        let sql = "SELECT status, sum(counted), sum(found) FROM
                       (SELECT status, runs AS counted, 0 AS found FROM finished_count WHERE ns = ?1
                        UNION ALL SELECT status, 0, 1 FROM finished WHERE ns = ?1)
                    GROUP BY status HAVING sum(counted) <> sum(found)";
        let report = &mut self.report;
        each_row(self.connection, sql, [ns], |row| {
            let (counted, found): (i64, i64) = (row.get(1).map_err(store_error)?, row.get(2).map_err(store_error)?);
            report.report(format!("{counted} runs are counted as {}, {found} are there", text(row, 0)?));
            Ok(())
        })
    }

    /// Nothing is left of a run that is nowhere: nobody would ever remove it.
    fn strays(&mut self, ns: i64, table: &str, homes: &[&str]) -> Result<(), StoreError> {
        let home = |home: &&str| format!("NOT EXISTS (SELECT 1 FROM {home} h WHERE h.ns = ?1 AND h.run_id = t.run_id)");
        let nowhere = homes.iter().map(home).collect::<Vec<_>>().join(" AND ");
        let sql = format!("SELECT run_id FROM (SELECT DISTINCT run_id FROM {table} WHERE ns = ?1) t WHERE {nowhere}");
        let report = &mut self.report;
        each_row(self.connection, &sql, [ns], |row| {
            report.report(format!(
                "a {table} row is there of `{}`, which is not in {}",
                text(row, 0)?,
                homes.join(", ")
            ));
            Ok(())
        })
    }

    /// Reads each row of a table as a load or a reader would.
    fn rows(&mut self, ns: i64, kind: Kind, last: CommitSeq) -> Result<(), StoreError> {
        let sql = format!("SELECT body FROM {} WHERE ns = ?1", kind.table());
        each_row(self.connection, &sql, [ns], |row| {
            self.report.rows += 1;
            match text(row, 0).and_then(|body| decode(kind, body)) {
                Ok(row) => self.row(&row, last),
                Err(error) => self.report.report(error.to_string()),
            }
            Ok(())
        })
    }

    /// Reads each definition with its parts.
    fn bodies(&mut self, ns: i64) -> Result<(), StoreError> {
        let sql = "SELECT hash FROM definition WHERE ns = ?1 UNION SELECT hash FROM definition_part WHERE ns = ?1";
        each_row(self.connection, sql, [ns], |row| {
            self.report.rows += 1;
            let hash = DefinitionHash(text(row, 0)?.into());
            match definition::read(self.connection, ns, &hash) {
                Ok(Some(_)) => {}
                Ok(None) => self.report.report(format!("parts are left of the definition `{}`", hash.0)),
                Err(error) => self.report.report(error.to_string()),
            }
            Ok(())
        })
    }

    fn row(&mut self, row: &Row, last: CommitSeq) {
        let (run, newest) = match row {
            Row::Run(run) => (&**run, run.first_commit),
            Row::Finished(finished) => (&finished.run, finished.last_commit),
            _ => return,
        };
        for hash in run.definitions() {
            *self.users.entry(hash.0.to_string()).or_default() += 1;
        }
        if newest > last {
            self.report.report(format!("{} names commit {}, the newest is {}", run.id, newest.0, last.0));
        }
    }

    fn history(&mut self, ns: i64, last: CommitSeq) -> Result<(), StoreError> {
        let report = &mut self.report;
        each_row(self.connection, "SELECT commit_seq, body FROM history WHERE ns = ?1", [ns], |row| {
            report.rows += 1;
            let commit = CommitSeq(number(row, 0)?);
            if commit > last {
                report.report(format!("there is history of commit {}, the newest is {}", commit.0, last.0));
            }
            if let Err(error) = text(row, 1).and_then(|body| decode_history(commit, body)) {
                report.report(error.to_string());
            }
            Ok(())
        })
    }

    /// Each definition that a run names is there, and its users are counted right.
    fn definitions(&mut self, ns: i64) -> Result<(), StoreError> {
        let mut counted: BTreeMap<String, i64> = BTreeMap::new();
        let sql = "SELECT u.hash, u.runs FROM definition_use u JOIN definition d USING (ns, hash) WHERE ns = ?1";
        each_row(self.connection, sql, [ns], |row| {
            counted.insert(text(row, 0)?.into(), row.get(1).map_err(store_error)?);
            Ok(())
        })?;
        for (hash, runs) in &self.users {
            match counted.remove(hash) {
                None => self.report.report(format!("{runs} runs name the definition `{hash}`, which is not stored")),
                Some(count) if count != *runs => {
                    self.report.report(format!("{count} runs are counted on the definition `{hash}`, {runs} name it"));
                }
                Some(_) => {}
            }
        }
        for (hash, runs) in counted.into_iter().filter(|(_, runs)| *runs != 0) {
            self.report.report(format!("{runs} runs are counted on the definition `{hash}`, none names it"));
        }
        Ok(())
    }
}
