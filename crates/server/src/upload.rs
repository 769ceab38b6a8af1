//! What attempts elsewhere send into their folders here: their logs, and the files that they leave.
//!
//! A file that is not whole yet stands in `incoming/`, under a name made of its path, and is moved into `artifacts/` with
//! its last byte. So whoever lists or reads artifacts meets whole ones alone, whatever breaks meanwhile. What is never
//! completed goes with its run.
//!
//! Attempts of this machine can reach these folders as well: each is entered from the one above it, and no link is gone
//! through.

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, flock, fsync, mkdirat, openat, renameat, statat,
        unlinkat,
    },
    io::Errno,
};
use std::{
    fmt,
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::Path,
};
use unknot_api::worker::{ARTIFACT_FOLDERS_MAX, ARTIFACT_PATH_BYTES_MAX, ARTIFACTS_BYTES_MAX, ARTIFACTS_MAX};
use unknot_engine::{
    artifacts::{self, ARTIFACTS_FOLDER, enter},
    secrets::hash,
};

/// The folder of files that are not whole yet, in an attempt's folder.
const INCOMING_FOLDER: &str = "incoming";
/// Bytes of a file's name.
const NAME_BYTES_MAX: usize = 255;

/// Where an artifact lies below `artifacts/`: names from above to below, none of which leads elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArtifactPath(String);

/// A part of an artifact; all of it lies within `size`.
pub(crate) struct Part<'b> {
    pub(crate) offset: u64,
    /// How many bytes the whole file has.
    pub(crate) size: u64,
    pub(crate) bytes: &'b [u8],
}

/// What became of a part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// It is there, and so much altogether.
    Taken(u64),
    /// It would leave a hole: what is there ends here.
    EndsAt(u64),
    /// Another part of this attempt is being written.
    Busy,
    /// The attempt would have more than it may.
    TooMuch(String),
    /// The path contradicts another one's.
    NoPlace(String),
}

impl ArtifactPath {
    /// # Errors
    /// Says what no path may have.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let names = text.split('/');
        let leads_elsewhere = |name: &str| name.is_empty() || name == "." || name == ".." || name.contains('\0');
        if text.len() > ARTIFACT_PATH_BYTES_MAX {
            Err(format!("an artifact's path has at most {ARTIFACT_PATH_BYTES_MAX} bytes"))
        } else if names.clone().count() > ARTIFACT_FOLDERS_MAX + 1 {
            Err(format!("an artifact lies at most {ARTIFACT_FOLDERS_MAX} folders deep"))
        } else if names.clone().any(leads_elsewhere) {
            Err("an artifact's path has names between single `/`, none of them `.` or `..`".to_owned())
        } else if names.clone().any(|name| name.len() > NAME_BYTES_MAX) {
            Err(format!("a name in an artifact's path has at most {NAME_BYTES_MAX} bytes"))
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// Its folders, and its name.
    fn split(&self) -> (impl Iterator<Item = &str>, &str) {
        let (folders, name) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        (folders.split('/').filter(|folder| !folder.is_empty()), name)
    }
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes a part of a file that is shown as it grows. The same part may come again.
pub(crate) fn add(folder: &Path, name: &str, offset: u64, bytes: &[u8]) -> io::Result<Received> {
    let file = writable(&base(folder)?, name)?;
    let length = file.metadata()?.len();
    if offset > length {
        return Ok(Received::EndsAt(length));
    }
    file.write_all_at(bytes, offset)?;
    Ok(Received::Taken(length.max(offset + bytes.len() as u64)))
}

/// Writes a part of an artifact, and puts the file in its place once it is whole. The same part may come again.
pub(crate) fn receive(folder: &Path, path: &ArtifactPath, part: &Part<'_>) -> io::Result<Received> {
    let base = base(folder)?;
    let incoming = make(&base, INCOMING_FOLDER)?;
    // One part of an attempt at a time, so that neither its bounds nor the order of its parts depend on luck.
    match flock(&incoming, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(Received::Busy),
        locked => locked?,
    }
    let there = artifacts::list(folder).files;
    let whole = there.iter().find(|artifact| artifact.path == path.0).map(|artifact| artifact.bytes);
    let name = hash(&path.0);
    let mut length = bytes_of(&incoming, &name)?;
    if length.is_none() && part.offset > 0 && whole == Some(part.size) {
        // The answer to the last part was lost, or its name could not be made durable.
        fsync(place_of(&base, path)?.0)?;
        return Ok(Received::Taken(part.size));
    }
    // A file that grew beyond its size was another one.
    if part.offset == 0 || length.is_some_and(|length| length > part.size) {
        remove(&incoming, &name)?;
        length = None;
    }
    let length = length.unwrap_or_default();
    if part.offset > length {
        return Ok(Received::EndsAt(length));
    }
    let others = there.iter().filter(|artifact| artifact.path != path.0).map(|artifact| artifact.bytes);
    // All that it will have counts from its first part on, and none of it once it is refused: or it would take the room
    // of smaller ones that come behind it.
    if let Some(why) = too_much(others.chain(sizes(&incoming, &name)?), part.size) {
        remove(&incoming, &name)?;
        return Ok(Received::TooMuch(why));
    }
    let file = writable(&incoming, &name)?;
    file.write_all_at(part.bytes, part.offset)?;
    let length = length.max(part.offset + part.bytes.len() as u64);
    if length < part.size {
        return Ok(Received::Taken(length));
    }
    // Under its own name it is whole, also after a loss of power; and it has that name before it is told to be whole.
    file.sync_data()?;
    match put_in_place(&base, &incoming, &name, path) {
        Ok(()) => Ok(Received::Taken(length)),
        Err(Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::NOTEMPTY | Errno::EXIST) => {
            remove(&incoming, &name)?;
            Ok(Received::NoPlace(format!("`{path}` is a folder, or a part of it is a file")))
        }
        Err(error) => Err(error.into()),
    }
}

/// What is wrong with files of these sizes and one of that size.
fn too_much(others: impl Iterator<Item = u64>, own: u64) -> Option<String> {
    let (count, bytes) = others.fold((1, own), |(count, bytes), more| (count + 1, bytes + more));
    if count > ARTIFACTS_MAX {
        Some(format!("an attempt has at most {ARTIFACTS_MAX} artifacts"))
    } else if bytes > ARTIFACTS_BYTES_MAX {
        Some(format!("an attempt's artifacts have at most {ARTIFACTS_BYTES_MAX} bytes"))
    } else {
        None
    }
}

fn put_in_place(base: &OwnedFd, incoming: &OwnedFd, name: &str, path: &ArtifactPath) -> rustix::io::Result<()> {
    let (place, last) = place_of(base, path)?;
    renameat(incoming, name, &place, last)?;
    fsync(place)
}

/// The folder of an artifact, made where it is not there, and its name in it.
fn place_of<'p>(base: &OwnedFd, path: &'p ArtifactPath) -> rustix::io::Result<(OwnedFd, &'p str)> {
    let (folders, last) = path.split();
    let mut place = make(base, ARTIFACTS_FOLDER)?;
    for folder in folders {
        place = make(&place, folder)?;
    }
    Ok((place, last))
}

/// The attempt's own folder, made with its names durable where it is not there.
fn base(folder: &Path) -> io::Result<OwnedFd> {
    let missing = folder.ancestors().take_while(|folder| !folder.is_dir());
    let written_to: Vec<&Path> = missing.filter_map(Path::parent).collect();
    fs::create_dir_all(folder)?;
    for above in written_to {
        File::open(above)?.sync_all()?;
    }
    Ok(enter(CWD, folder)?)
}

/// A folder below another one, made with its name durable where it is not there.
fn make(above: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    match mkdirat(above, name, Mode::from_raw_mode(0o777)) {
        Ok(()) => fsync(above).and_then(|()| enter(above, name)),
        Err(Errno::EXIST) => enter(above, name),
        Err(error) => Err(error),
    }
}

/// A regular file to write to, made where it is not there.
fn writable(folder: &OwnedFd, name: &str) -> io::Result<File> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    let file: File = openat(folder, name, flags, mode)?.into();
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

fn remove(folder: &OwnedFd, name: &str) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// How long a regular file is; none if there is none.
fn bytes_of(folder: &OwnedFd, name: impl rustix::path::Arg) -> io::Result<Option<u64>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile => {
            Ok(u64::try_from(found.st_size).ok())
        }
        Ok(_) | Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The sizes of all files of a folder but one.
fn sizes(folder: &OwnedFd, but: &str) -> io::Result<Vec<u64>> {
    let mut sizes = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if entry.file_name().to_bytes() != but.as_bytes() {
            sizes.extend(bytes_of(folder, entry.file_name())?);
        }
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(text: &str) -> ArtifactPath {
        ArtifactPath::parse(text).expect("a path")
    }

    fn send(folder: &Path, text: &str, offset: u64, size: u64, bytes: &str) -> Received {
        receive(folder, &path(text), &Part { offset, size, bytes: bytes.as_bytes() }).expect("written")
    }

    fn shown(folder: &Path) -> Vec<(String, u64)> {
        artifacts::list(folder).files.into_iter().map(|file| (file.path, file.bytes)).collect()
    }

    #[test]
    fn a_part_that_comes_again_changes_nothing_and_leaves_no_hole() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("deep/down");
        let add = |offset, bytes: &str| add(&folder, "log.txt", offset, bytes.as_bytes()).expect("written");
        assert_eq!(add(0, "abc"), Received::Taken(3));
        assert_eq!(add(1, "bcd"), Received::Taken(4));
        assert_eq!(add(0, "abc"), Received::Taken(4));
        assert_eq!(add(5, "f"), Received::EndsAt(4));
        assert_eq!(fs::read_to_string(folder.join("log.txt")).expect("there"), "abcd");
        symlink("/tmp/nothing", folder.join("link")).expect("made");
        assert!(super::add(&folder, "link", 0, b"x").is_err());
    }

    #[test]
    fn a_file_is_shown_when_it_is_whole_and_no_sooner() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("attempt");
        assert_eq!(send(&folder, "deep/page", 2, 6, "cd"), Received::EndsAt(0));
        assert_eq!(send(&folder, "deep/page", 0, 6, "ab"), Received::Taken(2));
        assert_eq!(send(&folder, "deep/page", 0, 6, "ab"), Received::Taken(2), "the answer was lost");
        assert_eq!(send(&folder, "deep/page", 4, 6, "ef"), Received::EndsAt(2));
        assert_eq!(send(&folder, "deep/page", 2, 6, "cd"), Received::Taken(4));
        assert_eq!(shown(&folder), []);
        assert_eq!(send(&folder, "deep/page", 4, 6, "ef"), Received::Taken(6));
        assert_eq!(send(&folder, "deep/page", 4, 6, "ef"), Received::Taken(6), "the answer was lost");
        assert_eq!(shown(&folder), [("deep/page".to_owned(), 6)]);
        assert_eq!(fs::read_to_string(folder.join("artifacts/deep/page")).expect("there"), "abcdef");
        // Another one in its place.
        assert_eq!(send(&folder, "deep/page", 0, 3, "xy"), Received::Taken(2));
        assert_eq!(shown(&folder), [("deep/page".to_owned(), 6)], "the old one until then");
        assert_eq!(send(&folder, "deep/page", 0, 1, "z"), Received::Taken(1));
        assert_eq!(send(&folder, "empty", 0, 0, ""), Received::Taken(0));
        assert_eq!(shown(&folder), [("deep/page".to_owned(), 1), ("empty".to_owned(), 0)]);
        assert_eq!(fs::read_dir(folder.join(INCOMING_FOLDER)).expect("there").count(), 0);
    }

    #[test]
    fn paths_that_contradict_each_other_and_traps_are_refused() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("attempt");
        assert_eq!(send(&folder, "a", 0, 1, "x"), Received::Taken(1));
        assert!(matches!(send(&folder, "a/b", 0, 1, "x"), Received::NoPlace(_)));
        assert_eq!(send(&folder, "c/d", 0, 1, "x"), Received::Taken(1));
        assert!(matches!(send(&folder, "c", 0, 1, "x"), Received::NoPlace(_)));
        symlink(place.path(), folder.join("artifacts/way")).expect("made");
        assert!(matches!(send(&folder, "way/secret", 0, 1, "x"), Received::NoPlace(_)));
        assert!(!place.path().join("secret").exists());
        // A link in the file's own place is replaced, not written through.
        fs::write(place.path().join("precious"), "precious").expect("written");
        symlink(place.path().join("precious"), folder.join("artifacts/link")).expect("made");
        assert_eq!(send(&folder, "link", 0, 1, "x"), Received::Taken(1));
        assert_eq!(fs::read_to_string(place.path().join("precious")).expect("there"), "precious");
        fs::remove_dir_all(folder.join(ARTIFACTS_FOLDER)).expect("removed");
        symlink(place.path(), folder.join(ARTIFACTS_FOLDER)).expect("made");
        assert!(matches!(send(&folder, "secret", 0, 1, "x"), Received::NoPlace(_)));
        assert!(!place.path().join("secret").exists());
    }

    #[test]
    fn names_lead_nowhere_else() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let deep = "d/".repeat(ARTIFACT_FOLDERS_MAX + 1) + "x";
        let longest = format!("{}/x", "y/".repeat(ARTIFACT_PATH_BYTES_MAX));
        for wrong in ["", ".", "..", "/", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\0b", &long, &deep, &longest]
        {
            assert!(ArtifactPath::parse(wrong).is_err(), "{wrong:.40}");
        }
        let deepest = "d/".repeat(ARTIFACT_FOLDERS_MAX) + "x";
        for right in ["a", "a/b", "...", "a..b", " ", "ä/ö", "a\\b", &deepest] {
            assert!(ArtifactPath::parse(right).is_ok(), "{right}");
        }
    }

    #[test]
    fn an_attempt_has_so_many_files_and_bytes_and_one_part_at_a_time() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("attempt");
        for file in 0..ARTIFACTS_MAX - 1 {
            assert_eq!(send(&folder, &format!("f{file}"), 0, 0, ""), Received::Taken(0));
        }
        assert_eq!(send(&folder, "half", 0, 2, "x"), Received::Taken(1));
        assert!(matches!(send(&folder, "more", 0, 0, ""), Received::TooMuch(_)));
        assert_eq!(send(&folder, "f0", 0, 1, "x"), Received::Taken(1), "one that is there may be another");
        let large = File::create(folder.join("artifacts/f1")).expect("made");
        large.set_len(ARTIFACTS_BYTES_MAX - 2).expect("a hole");
        assert!(matches!(send(&folder, "half", 1, 2, "x"), Received::TooMuch(_)));
        assert_eq!(send(&folder, "half", 1, 2, "x"), Received::EndsAt(0), "nothing is kept of what is refused");
        assert!(matches!(send(&folder, "half", 0, 2, "x"), Received::TooMuch(_)), "with its first part");
        assert_eq!(send(&folder, "half", 0, 1, "x"), Received::Taken(1), "a smaller one has room");
        assert_eq!(send(&folder, "f1", 0, 1, "x"), Received::Taken(1));
        let incoming = File::open(folder.join(INCOMING_FOLDER)).expect("there");
        flock(&incoming, FlockOperation::LockExclusive).expect("locked");
        assert_eq!(send(&folder, "f0", 0, 0, ""), Received::Busy);
    }
}
