//! Why a request came to nothing, and whether another one may do better.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;
use unknot_api::work::{FailureCode, NextTry, Outcome};

/// A request that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: FailureCode,
    pub(super) message: String,
    pub(super) next_try: NextTry,
}

impl Failure {
    /// The request cannot be made, now or ever.
    pub(super) fn request(message: String) -> Self {
        Self { code: FailureCode::Request, message, next_try: NextTry::Useless }
    }

    /// There is no connection to be had; there may be one the next time.
    pub(super) fn connect(message: String) -> Self {
        Self { code: FailureCode::Connect, message, next_try: NextTry::AsUsual }
    }

    /// The request is sent, and nobody can tell what became of it. The next one carries the same idempotency key.
    pub(super) fn answer(message: String) -> Self {
        Self { code: FailureCode::Answer, message, next_try: NextTry::AsUsual }
    }

    /// The redirect would be the same the next time.
    pub(super) fn redirect(message: String) -> Self {
        Self { code: FailureCode::Redirect, message, next_try: NextTry::Useless }
    }

    /// What came cannot be the task's output.
    pub(super) fn output(message: String) -> Self {
        Self { code: FailureCode::Output, message, next_try: NextTry::AsUsual }
    }

    /// The same would follow the next time.
    pub(super) fn for_good(self) -> Self {
        Self { next_try: NextTry::Useless, ..self }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        let Failure { code, message, next_try } = failure;
        Self::Failed { code, message, exit: None, signal: None, next_try }
    }
}

/// Waits at most so long.
pub(super) async fn within<T>(
    limit_ms: u64,
    work: impl Future<Output = Result<T, Failure>>,
    late: impl FnOnce() -> Failure,
) -> Result<T, Failure> {
    timeout(Duration::from_millis(limit_ms).min(super::FAR), work).await.unwrap_or_else(|_| Err(late()))
}
