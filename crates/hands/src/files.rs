//! Files in an attempt's folder, which the attempt itself can turn into traps.
//!
//! The folder belongs to the task as much as to its worker: where a file is expected, there may be a pipe that nobody
//! reads (opening it waits for ever), a link to somewhere else (writing through it destroys a stranger's file), or a
//! folder. So nothing in there is opened by its plain path: no link is followed, neither for the file nor for the
//! folder itself, no open waits for a peer, and only plain files are read or written.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, unlinkat};

/// The rights of a new file, before the umask.
const RIGHTS: u16 = 0o666;

/// The folder, if it is one and not a link to one.
fn enter(folder: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, folder, flags, Mode::empty())?)
}

fn open(folder: &OwnedFd, name: &str, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(openat(folder, name, flags, Mode::from_raw_mode(RIGHTS.into()))?))
}

/// Makes an empty file where nothing is yet; whatever is there already is left as it is.
///
/// # Errors
///
/// As the file system says; `AlreadyExists` if something has that name.
pub(crate) fn create(folder: &Path, name: &str) -> io::Result<File> {
    open(&enter(folder)?, name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
}

/// Makes an empty file in the place of whatever is there; what a link there points to is left alone.
///
/// # Errors
///
/// As the file system says; a folder is not replaced.
pub(crate) fn replace(folder: &Path, name: &str) -> io::Result<File> {
    let folder = enter(folder)?;
    match unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => open(&folder, name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL),
        Err(error) => Err(error.into()),
    }
}

/// Moves a file of a folder to another name in it, over whatever is there.
///
/// # Errors
///
/// As the file system says.
pub(crate) fn rename(folder: &Path, from: &str, to: &str) -> io::Result<()> {
    let folder = enter(folder)?;
    Ok(renameat(&folder, from, &folder, to)?)
}

/// Opens a plain file to be read.
///
/// # Errors
///
/// `InvalidData` if it is no plain file; else as the file system says.
pub(crate) fn plain(folder: &Path, name: &str) -> io::Result<File> {
    let file = open(&enter(folder)?, name, OFlags::RDONLY)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(no_plain_file()) }
}

/// Reads a plain file, but not past `bytes_max + 1`: one that is longer shows by that. `None` if nothing is there.
///
/// # Errors
///
/// `InvalidData` if it is no plain file; else as the file system says.
pub(crate) fn read(folder: &Path, name: &str, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let opened = enter(folder).and_then(|folder| open(&folder, name, OFlags::RDONLY));
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A link, or a folder's name that is one, or is no folder's any more.
        Err(error) if is_trap(&error) => return Err(no_plain_file()),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(no_plain_file());
    }
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn is_trap(error: &io::Error) -> bool {
    let traps = [rustix::io::Errno::LOOP, rustix::io::Errno::NOTDIR, rustix::io::Errno::NXIO];
    error.raw_os_error().is_some_and(|code| traps.iter().any(|trap| trap.raw_os_error() == code))
}

fn no_plain_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn pipe(path: &Path) {
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }

    #[test]
    fn nothing_in_a_folder_is_followed_or_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("attempt");
        fs::create_dir(&folder).unwrap();
        let stranger = place.path().join("stranger");
        fs::write(&stranger, "precious").unwrap();
        pipe(&folder.join("pipe"));
        symlink(&stranger, folder.join("link")).unwrap();
        fs::create_dir(folder.join("folder")).unwrap();
        for name in ["pipe", "link", "folder"] {
            let error = read(&folder, name, 10).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name}");
            assert_eq!(create(&folder, name).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{name}");
        }
        for name in ["pipe", "link"] {
            drop(replace(&folder, name).unwrap());
            assert_eq!(read(&folder, name, 10).unwrap(), Some(Vec::new()), "{name}");
        }
        assert!(replace(&folder, "folder").is_err());
        assert_eq!(fs::read_to_string(&stranger).unwrap(), "precious");
        assert_eq!(read(&folder, "nothing", 10).unwrap(), None);
    }

    #[test]
    fn a_folder_that_became_a_link_is_not_entered() {
        let place = tempfile::tempdir().unwrap();
        let elsewhere = place.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("file"), "precious").unwrap();
        let folder = place.path().join("attempt");
        symlink(&elsewhere, &folder).unwrap();
        assert!(create(&folder, "new").is_err() && replace(&folder, "file").is_err());
        assert_eq!(read(&folder, "file", 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(elsewhere.join("file")).unwrap(), "precious");
    }

    #[test]
    fn what_is_too_long_shows_by_one_byte() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("long"), "x".repeat(100)).unwrap();
        assert_eq!(read(folder.path(), "long", 10).unwrap().unwrap().len(), 11);
    }
}
