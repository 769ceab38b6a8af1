//! Going through what a query finds, row by row. Bodies are parsed where SQLite keeps them, never copied.

use super::fault::store_error;
use crate::StoreError;
use rusqlite::{Connection, Params, Row};

/// Hands each row that `sql` finds on. Who wants only some of them says so with LIMIT.
pub(super) fn each_row(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    mut take: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let mut rows = statement.query(params).map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        take(row)?;
    }
    Ok(())
}

/// A text column, where SQLite keeps it.
pub(super) fn text<'a>(row: &'a Row<'_>, place: usize) -> Result<&'a str, StoreError> {
    let value = row.get_ref(place).map_err(store_error)?;
    value.as_str().map_err(|error| StoreError::damaged(format!("a column is not text: {error}")))
}

/// A column that counts something: never negative.
pub(super) fn number(row: &Row<'_>, place: usize) -> Result<u64, StoreError> {
    row.get::<_, i64>(place).map(i64::unsigned_abs).map_err(store_error)
}
