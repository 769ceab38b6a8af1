//! The folder of a store: which files, on which file system, and who owns them.
//!
//! Only the lock file is ever opened here. Opening and closing the database file beside SQLite would
//! drop the locks that SQLite holds on it in this process (POSIX says so); it is looked at by name.

use super::fault::file_error;
use crate::StoreError;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The database's file.
const DATABASE: &str = "unknot.db";
/// What SQLite adds to the name for the journal of recent commits.
const WAL: &str = "unknot.db-wal";
/// Held by the process that may write.
const LOCK: &str = "lock";

/// The folder of a store, and the names in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    root: PathBuf,
}

/// The right of this process to write. It ends with the process, however that ends: the kernel
/// releases the lock with the last descriptor, and no child inherits one over `exec`.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

/// What stands where the database should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or an empty file that no commit ever went to.
    Nothing,
    /// A file with something in it.
    Something,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    pub(super) fn database(&self) -> PathBuf {
        self.root.join(DATABASE)
    }

    /// Bytes of commits that are not folded into the database yet.
    pub(super) fn wal_bytes(&self) -> u64 {
        fs::metadata(self.root.join(WAL)).map(|file| file.len()).unwrap_or_default()
    }

    /// Makes the folder and those above it that are missing, readable by their owner only, and makes their names
    /// durable.
    pub(super) fn create(&self) -> Result<(), StoreError> {
        if self.root.is_dir() {
            return Ok(());
        }
        let written = self.written_to();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.root);
        made.map_err(|error| file_error(&self.root, error))?;
        written.into_iter().try_for_each(|folder| {
            let synced = File::open(&folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| file_error(&folder, error))
        })
    }

    /// The folders that get a new name in them when this one is made, the lowest first.
    fn written_to(&self) -> Vec<PathBuf> {
        let missing = self.root.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.is_dir());
        let parents = missing.filter_map(Path::parent);
        parents.map(|parent| if parent.as_os_str().is_empty() { ".".into() } else { parent.to_owned() }).collect()
    }

    /// Makes an empty database file that only its owner can read; SQLite gives the journal the same
    /// rights. Not for a file that is there: see the module on opening it.
    pub(super) fn create_database(&self) -> Result<(), StoreError> {
        let path = self.database();
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(file_error(&path, error)),
            _ => Ok(()),
        }
    }

    /// Refuses file systems on which locks and syncs do not hold.
    pub(super) fn refuse_network(&self) -> Result<(), StoreError> {
        let magic = magic(&self.root).map_err(|error| file_error(&self.root, error.into()))?;
        match network_kind(magic) {
            Some(kind) => Err(StoreError::NetworkFileSystem { path: self.root.clone(), kind }),
            None => Ok(()),
        }
    }

    /// Takes the folder for this process.
    pub(super) fn lock(&self) -> Result<FolderLock, StoreError> {
        let path = self.root.join(LOCK);
        let failed = |error| file_error(&path, error);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = opened.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Owned { path: self.root.clone(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let write_pid = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write_pid(&mut file).map_err(failed)?;
        Ok(FolderLock { _file: file })
    }

    /// Looks at the database's name without opening it, and refuses what must not be opened.
    pub(super) fn inspect(&self) -> Result<Found, StoreError> {
        let path = self.database();
        let not_a_store = |detail: String| StoreError::NotAStore { path: path.clone(), detail };
        let size = match fs::symlink_metadata(&path) {
            Ok(file) if file.is_symlink() => {
                // The lock stands beside the link, not beside the file: two folders could share one file.
                return Err(not_a_store("it is a symbolic link; give the folder that the file itself is in".into()));
            }
            Ok(file) if file.is_dir() => return Err(not_a_store("it is a folder".into())),
            Ok(file) if !file.is_file() => return Err(not_a_store("it is not a plain file".into())),
            Ok(file) => file.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(file_error(&path, error)),
        };
        match (size, self.wal_bytes()) {
            (0, 0) => Ok(Found::Nothing),
            // SQLite would take this for a new database and delete the journal.
            (0, _) => Err(StoreError::damaged(format!(
                "`{}` is missing or empty, but the journal `{WAL}` of its recent commits is there",
                path.display()
            ))),
            _ => Ok(Found::Something),
        }
    }
}

/// The pid that the owner wrote into its lock file.
fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The number of the file system that a folder is on.
#[cfg(not(test))]
fn magic(folder: &Path) -> rustix::io::Result<u32> {
    // The magic numbers are 32 bits wide; the field's type differs between machines.
    rustix::fs::statfs(folder).map(|found| found.f_type as u32)
}

/// A test's: a folder named `nfs` is on one.
#[cfg(test)]
fn magic(folder: &Path) -> rustix::io::Result<u32> {
    let found = rustix::fs::statfs(folder)?;
    Ok(if folder.ends_with("nfs") { 0x6969 } else { found.f_type as u32 })
}

/// The name of a network file system, by the number that `statfs` gives (linux/magic.h and the
/// modules' own headers).
fn network_kind(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x0000_6969 => "NFS",
        0x0000_517B | 0xFE53_4D42 | 0xFF53_4D42 => "SMB",
        0x0102_1997 => "9p",
        0x6573_5546 => "FUSE",
        0x00C3_6400 => "Ceph",
        0x5346_414F | 0x6B41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x0BD0_0BD0 => "Lustre",
        0x0116_1970 => "GFS2",
        0x7461_636F => "OCFS2",
        0x786F_4256 => "VirtualBox shared folder",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_new_name_is_made_durable() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::new(&place.path().join("a/b/c"));
        let below = |name: &str| place.path().join(name);
        assert_eq!(folder.written_to(), [below("a/b"), below("a"), place.path().to_owned()]);
        folder.create().expect("made");
        assert!(below("a/b/c").is_dir());
        assert_eq!(folder.written_to(), Vec::<PathBuf>::new());
        assert_eq!(Folder::new(Path::new("no-such/data")).written_to(), [Path::new("no-such"), Path::new(".")]);
    }

    #[test]
    fn a_store_on_a_network_file_system_is_refused_unless_it_is_wanted() {
        use crate::{NetworkFileSystems, SqliteOptions, SqliteStore};
        let place = tempfile::tempdir().expect("a temporary folder");
        let folder = place.path().join("nfs");
        let open = |network| SqliteStore::open(&folder, &SqliteOptions { network, ..SqliteOptions::default() });
        let refused = open(NetworkFileSystems::Refused).err().expect("refused");
        assert!(matches!(&refused, StoreError::NetworkFileSystem { kind: "NFS", .. }), "{refused:?}");
        assert!(!folder.join(DATABASE).exists() && !folder.join(LOCK).exists(), "nothing was written");
        open(NetworkFileSystems::Allowed).expect("it was asked for");
    }

    #[test]
    fn network_file_systems_are_told_by_their_number() {
        assert_eq!(network_kind(0x6969), Some("NFS"));
        assert_eq!(network_kind(0x0102_1997), Some("9p"));
        for local in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1] {
            assert_eq!(network_kind(local), None, "{local:x}");
        }
    }
}
