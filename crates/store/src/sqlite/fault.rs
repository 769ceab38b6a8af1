//! What SQLite's result codes mean for whoever called.

use crate::{CommitError, Refusal, StoreError};
use rusqlite::{Error, ErrorCode, ffi};
use std::{path::Path, time::Duration};

/// What a failure of SQLite amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing happened, and it may work later.
    Refused(Refusal),
    /// The file is damaged.
    Corrupt,
    /// The file is no database.
    NotADatabase,
    /// A constraint said no.
    Constraint,
    /// A read was ended by its deadline.
    Interrupted,
    /// The program asked for something wrong: a bug.
    Misuse,
}

impl Fault {
    pub(super) fn of(error: &Error) -> Self {
        let Error::SqliteFailure(failure, _) = error else {
            return match error {
                // A column that is not what the schema says: somebody else wrote it, or the disk lied.
                Error::FromSqlConversionFailure(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::Utf8Error(..)
                | Error::InvalidColumnType(..) => Self::Corrupt,
                _ => Self::Misuse,
            };
        };
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
                Self::Refused(Refusal::Busy)
            }
            ErrorCode::DiskFull => Self::Refused(Refusal::DiskFull),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Self::Refused(Refusal::ReadOnly),
            // A page that does not fit its checksum or its place is damage; the rest is the disk's mood.
            ErrorCode::SystemIoFailure => match failure.extended_code {
                ffi::SQLITE_IOERR_CORRUPTFS | ffi::SQLITE_IOERR_DATA => Self::Corrupt,
                ffi::SQLITE_IOERR_NOMEM => Self::Refused(Refusal::Exhausted),
                _ => Self::Refused(Refusal::Io),
            },
            ErrorCode::CannotOpen => Self::Refused(Refusal::Io),
            ErrorCode::OutOfMemory => Self::Refused(Refusal::Exhausted),
            ErrorCode::DatabaseCorrupt => Self::Corrupt,
            ErrorCode::NotADatabase => Self::NotADatabase,
            ErrorCode::ConstraintViolation => Self::Constraint,
            ErrorCode::OperationInterrupted => Self::Interrupted,
            _ => Self::Misuse,
        }
    }
}

/// A failure before anything of a batch was stored.
pub(super) fn commit_error(error: Error) -> CommitError {
    match Fault::of(&error) {
        Fault::Refused(refusal) => CommitError::refused(refusal, error),
        Fault::Interrupted => CommitError::refused(Refusal::Busy, error),
        Fault::Corrupt | Fault::NotADatabase => CommitError::Corrupt { cause: error.into() },
        Fault::Constraint | Fault::Misuse => CommitError::Violated { detail: error.to_string() },
    }
}

/// A failure of anything else, on an open store.
pub(super) fn store_error(error: Error) -> StoreError {
    match Fault::of(&error) {
        Fault::Refused(refusal) => StoreError::Unavailable { refusal, cause: error.into() },
        Fault::Corrupt | Fault::NotADatabase => {
            StoreError::Corrupt { detail: "the database file does not hold together".into(), cause: Some(error.into()) }
        }
        Fault::Interrupted => StoreError::TooSlow { limit: Duration::ZERO },
        Fault::Constraint | Fault::Misuse => StoreError::Violated { detail: error.to_string() },
    }
}

/// A failure while a store is opened.
pub(super) fn open_error(path: &Path, error: Error) -> StoreError {
    match Fault::of(&error) {
        Fault::NotADatabase => {
            StoreError::NotAStore { path: path.into(), detail: "it does not begin as a SQLite database does".into() }
        }
        Fault::Corrupt => StoreError::Corrupt {
            detail: format!("`{}` does not hold together", path.display()),
            cause: Some(error.into()),
        },
        Fault::Refused(Refusal::Io) => StoreError::Open { path: path.into(), cause: error.into() },
        _ => store_error(error),
    }
}

/// A failure of the file system around the database.
pub(super) fn file_error(path: &Path, error: std::io::Error) -> StoreError {
    use std::io::ErrorKind;
    let refusal = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Refusal::DiskFull,
        ErrorKind::ReadOnlyFilesystem => Refusal::ReadOnly,
        _ => return StoreError::Open { path: path.into(), cause: error.into() },
    };
    StoreError::Unavailable { refusal, cause: error.into() }
}
