//! Tokens of attempts: each lets one attempt in, while it has its lease under one fence.
//!
//! `uka_ATTEMPT.FENCE.SEAL`, the seal made of both and a secret in the data folder. So no table of them is kept, and
//! they survive a restart. What such a token may do is decided anew with each call: the brain is asked whether the
//! attempt still has its lease.

use crate::secrets::{hash, new_secret, write_private};
use std::{fmt, fs, io, path::Path};
use unknot_core::{AttemptId, Fence};

/// The file that holds the secret, in the data folder.
const SECRET: &str = "attempts.secret";
/// Tokens of attempts begin so.
const PREFIX: &str = "uka_";

/// Makes and knows the tokens of attempts.
pub struct AttemptTokens {
    secret: String,
}

impl fmt::Debug for AttemptTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptTokens").finish_non_exhaustive()
    }
}

/// An attempt that has shown its token, and the lease that it says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Under which lease.
    pub fence: Fence,
}

impl AttemptTokens {
    /// The tokens of a data folder; its secret is drawn once.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let path = data.join(SECRET);
        match fs::read_to_string(&path) {
            Ok(secret) if secret.len() >= 32 => return Ok(Self { secret }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let secret = new_secret()?;
        write_private(&path, secret.as_bytes())?;
        Ok(Self { secret })
    }

    /// The token of an attempt under a fence.
    pub fn token(&self, attempt: &str, fence: u64) -> String {
        format!("{PREFIX}{attempt}.{fence}.{}", self.seal(attempt, fence))
    }

    /// Whose token this is, if it is one.
    pub fn identify(&self, token: &str) -> Option<Right> {
        let (right, seal) = token.strip_prefix(PREFIX)?.rsplit_once('.')?;
        let (attempt, fence) = right.rsplit_once('.')?;
        let fence = fence.parse().ok()?;
        // Hashes of hashes are compared, so how long it takes says nothing of the seal.
        let is_ours = hash(&self.seal(attempt, fence)) == hash(seal);
        let attempt = attempt.parse().ok().filter(|_| is_ours)?;
        Some(Right { attempt, fence: Fence(fence) })
    }

    /// Hashed twice with the secret: what is known of one seal helps with no other.
    fn seal(&self, attempt: &str, fence: u64) -> String {
        let inner = hash(&format!("{}.{attempt}.{fence}", self.secret));
        hash(&format!("{}.{inner}", self.secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unknot_core::{RunId, TaskIndex};

    #[test]
    fn a_token_is_good_for_its_attempt_and_fence_alone_and_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let tokens = AttemptTokens::open(folder.path()).expect("opened");
        let attempt = RunId::from_parts(1, 1).task(TaskIndex(0)).attempt(1);
        let token = tokens.token(&attempt.to_string(), 7);
        let again = AttemptTokens::open(folder.path()).expect("opened");
        assert_eq!(again.identify(&token), Some(Right { attempt, fence: Fence(7) }));
        assert_eq!(tokens.identify(&token.replace(".7.", ".8.")), None);
        assert_eq!(tokens.identify(&token[..token.len() - 1]), None);
        let elsewhere = tempfile::tempdir().expect("a folder");
        let other = AttemptTokens::open(elsewhere.path()).expect("opened");
        assert_eq!(other.identify(&token), None, "another server's");
    }
}
