//! Who may do what: tokens with scopes, kept in the data folder as hashes.
//!
//! `admin.token` holds the one that is made at the first start, for its operator to read (0600). `tokens.json` holds the
//! names, scopes and SHA-256 hashes of all. A token is 32 bytes of the system's chance, so a fast hash is enough.

use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use unknot_engine::secrets::{hash, new_secret, write_private};

/// The file that holds the first token, in the data folder.
pub(crate) const ADMIN_TOKEN: &str = "admin.token";
/// The file of all tokens' hashes, in the data folder.
const TOKENS: &str = "tokens.json";
/// Tokens begin so: a leaked one is found by its look.
const PREFIX: &str = "ukt_";
/// Tokens that there may be.
const TOKENS_MAX: usize = 1_000;

/// What a caller may do; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look.
    Read,
    /// Run registered workflows.
    Submit,
    /// Run any workflow, cancel, retry, pause.
    Operate,
    /// Everything.
    Admin,
}

/// A caller that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The token's name, or the local user.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) scope: Scope,
    /// Whether it came over the local socket.
    pub(crate) is_local: bool,
}

/// Why tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("cannot use `{}`", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("`{}` is not a list of tokens: {detail}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Others may read it.
    #[error("`{}` can be read by others: `chmod 600` it", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// The name is taken, or there are too many.
    #[error("{0}")]
    Refused(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    scope: Scope,
    sha256: String,
}

/// The tokens of one data folder. The file is read again when it has changed.
#[derive(Debug)]
pub struct Tokens {
    folder: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The file as it was when it was read.
    stamp: Option<Stamp>,
    /// When that was seen first.
    since: Option<Instant>,
    entries: Vec<Entry>,
}

/// What tells a file from the one that stood there before.
type Stamp = (u64, u64, i64, i64);

/// A file that changed may have changed again within one tick of its clock: so long it is read each time.
const TICK: Duration = Duration::from_millis(200);

impl Tokens {
    /// Opens the tokens of a data folder; makes the first one if there is none, and says so.
    ///
    /// # Errors
    /// If the files cannot be used.
    pub fn open(folder: &Path) -> Result<(Self, bool), TokenError> {
        let tokens = Self { folder: folder.to_path_buf(), known: Mutex::default() };
        let is_new = !tokens.path(TOKENS).exists();
        if is_new {
            let token = tokens.add("admin", Scope::Admin)?;
            write(&tokens.path(ADMIN_TOKEN), format!("{token}\n").as_bytes())?;
        }
        tokens.refresh()?;
        Ok((tokens, is_new))
    }

    /// Tokens of which nobody has one, in a folder in which nothing is made for them.
    pub(crate) fn nobodys(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), known: Mutex::default() }
    }

    /// Makes a token.
    ///
    /// # Errors
    /// If the name is taken or the files cannot be used.
    pub fn add(&self, name: &str, scope: Scope) -> Result<String, TokenError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
        if name.is_empty() || name.len() > 100 || !name.bytes().all(plain) {
            return Err(TokenError::Refused(
                "a token's name has 1 to 100 letters, digits, `-`, `_`, `.` or `@`".into(),
            ));
        }
        let mut entries = self.read()?;
        if entries.iter().any(|entry| entry.name == name) {
            return Err(TokenError::Refused(format!("there is a token `{name}` already")));
        }
        if entries.len() >= TOKENS_MAX {
            return Err(TokenError::Refused(format!("there are {TOKENS_MAX} tokens already")));
        }
        let token = new_token().map_err(|source| self.failed(TOKENS, source))?;
        entries.push(Entry { name: name.to_owned(), scope, sha256: hash(&token) });
        self.write(&entries)?;
        Ok(token)
    }

    /// Takes a token away; says whether there was one.
    ///
    /// # Errors
    /// If the files cannot be used.
    pub fn remove(&self, name: &str) -> Result<bool, TokenError> {
        let mut entries = self.read()?;
        let before = entries.len();
        entries.retain(|entry| entry.name != name);
        if entries.len() == before {
            return Ok(false);
        }
        self.write(&entries).map(|()| true)
    }

    /// Names and scopes of all tokens.
    ///
    /// # Errors
    /// If the file cannot be used.
    pub fn list(&self) -> Result<Vec<(String, Scope)>, TokenError> {
        Ok(self.read()?.into_iter().map(|entry| (entry.name, entry.scope)).collect())
    }

    /// Whose token this is.
    pub(crate) fn identify(&self, token: &str) -> Option<Identity> {
        // A file that cannot be read right now changes nothing: what was known stays.
        self.refresh().unwrap_or_default();
        let wanted = hash(token);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Hashes are compared, so how long it takes says nothing of the token.
        let entry = known.entries.iter().find(|entry| entry.sha256 == wanted)?;
        Some(Identity { name: entry.name.clone(), scope: entry.scope, is_local: false })
    }

    fn refresh(&self) -> Result<(), TokenError> {
        let data = fs::metadata(self.path(TOKENS)).map_err(|source| self.failed(TOKENS, source))?;
        let stamp = Some((data.ino(), data.len(), data.ctime(), data.ctime_nsec()));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = known.stamp == stamp;
        if is_same && known.since.is_some_and(|since| since.elapsed() > TICK) {
            return Ok(());
        }
        known.entries = self.read()?;
        if !is_same {
            (known.stamp, known.since) = (stamp, Some(Instant::now()));
        }
        Ok(())
    }

    fn read(&self) -> Result<Vec<Entry>, TokenError> {
        let path = self.path(TOKENS);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.failed(TOKENS, source)),
            Ok(data) if data.mode() & 0o077 != 0 => return Err(TokenError::Open { path }),
            Ok(_) => {}
        }
        let text = fs::read(&path).map_err(|source| self.failed(TOKENS, source))?;
        serde_json::from_slice(&text).map_err(|error| TokenError::Damaged { path, detail: error.to_string() })
    }

    fn write(&self, entries: &[Entry]) -> Result<(), TokenError> {
        // Texts and words: it cannot fail.
        let text = serde_json::to_vec_pretty(entries).unwrap_or_default();
        write(&self.path(TOKENS), &text)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn failed(&self, name: &str, source: io::Error) -> TokenError {
        TokenError::File { path: self.path(name), source }
    }
}

/// A new token.
fn new_token() -> io::Result<String> {
    Ok(format!("{PREFIX}{}", new_secret()?))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TokenError> {
    write_private(path, bytes).map_err(|source| TokenError::File { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_token_is_made_once_and_others_come_and_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let (tokens, is_new) = Tokens::open(folder.path()).expect("opened");
        assert!(is_new);
        let admin = fs::read_to_string(folder.path().join(ADMIN_TOKEN)).expect("written");
        assert_eq!(fs::metadata(folder.path().join(ADMIN_TOKEN)).expect("there").mode() & 0o777, 0o600);
        assert_eq!(tokens.identify(admin.trim()).map(|identity| identity.scope), Some(Scope::Admin));
        let reader = tokens.add("grafana", Scope::Read).expect("made");
        assert!(tokens.add("grafana", Scope::Admin).is_err(), "one token a name");
        let (again, is_new) = Tokens::open(folder.path()).expect("opened");
        assert!(!is_new, "the first token is made once");
        assert_eq!(again.identify(&reader).map(|identity| identity.name).as_deref(), Some("grafana"));
        assert!(again.remove("grafana").expect("removed"));
        assert_eq!(again.identify(&reader), None);
        assert_eq!(again.identify(""), None);
        let text = fs::read_to_string(folder.path().join(TOKENS)).expect("there");
        assert!(!text.contains(admin.trim()), "only hashes are kept");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        drop(Tokens::open(folder.path()).expect("opened"));
        fs::set_permissions(folder.path().join(TOKENS), fs::Permissions::from_mode(0o644)).expect("ours");
        assert!(matches!(Tokens::open(folder.path()), Err(TokenError::Open { .. })));
    }
}
