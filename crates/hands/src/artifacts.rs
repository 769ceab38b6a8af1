//! What an attempt left in `artifacts/`: found, and opened, without following anything.
//!
//! The folder was filled by the attempt, which may be anybody's: a name in it may be a link to a stranger's file, a pipe
//! that nobody writes to, or a folder without end. So each folder is entered from the one above it, no link is gone
//! through, the folder `artifacts/` itself included, and only regular files count.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use unknot_api::worker::{ARTIFACT_FOLDERS_MAX, ARTIFACTS_MAX};

/// The folder of what an attempt leaves to keep, in its folder.
pub const ARTIFACTS_FOLDER: &str = "artifacts";

/// A file that an attempt left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its path below `artifacts/`.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What is in an attempt's `artifacts/`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Its regular files in order of their paths, at most [`ARTIFACTS_MAX`].
    pub files: Vec<Artifact>,
    /// The paths of what is none: links, pipes, names that are no text, folders that lie deeper than
    /// [`ARTIFACT_FOLDERS_MAX`] or cannot be read. At most [`ARTIFACTS_MAX`].
    pub passed_over: Vec<String>,
    /// Whether there are more files than are listed.
    pub is_cut: bool,
}

/// The artifacts in an attempt's folder. Reads the disk: for a thread that may wait.
#[must_use]
pub fn list(folder: &Path) -> Listing {
    let mut listing = Listing::default();
    // An attempt that was never started has no folder, and nothing in it.
    if let Ok(artifacts) = enter(CWD, folder.join(ARTIFACTS_FOLDER)) {
        gather(&artifacts, "", ARTIFACT_FOLDERS_MAX, &mut listing);
    }
    listing.files.sort_by(|one, other| one.path.cmp(&other.path));
    listing
}

fn gather(folder: &OwnedFd, prefix: &str, depth: usize, listing: &mut Listing) {
    let Ok(entries) = Dir::read_from(folder) else { return listing.pass_over(prefix.trim_end_matches('/').to_owned()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        let path = format!("{prefix}{}", name.to_string_lossy());
        match kind(folder, name) {
            Some((FileType::Directory, _)) if depth > 0 && name.to_str().is_ok() => match enter(folder, name) {
                Ok(below) => gather(&below, &format!("{path}/"), depth - 1, listing),
                Err(_) => listing.pass_over(path),
            },
            Some((FileType::RegularFile, bytes)) if name.to_str().is_ok() => {
                if listing.files.len() >= ARTIFACTS_MAX {
                    listing.is_cut = true;
                    return;
                }
                listing.files.push(Artifact { path, bytes });
            }
            _ => listing.pass_over(path),
        }
        if listing.is_cut {
            return;
        }
    }
}

impl Listing {
    fn pass_over(&mut self, path: String) {
        if self.passed_over.len() < ARTIFACTS_MAX {
            self.passed_over.push(path);
        }
    }
}

fn kind(folder: &OwnedFd, name: &CStr) -> Option<(FileType, u64)> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some((FileType::from_raw_mode(stat.st_mode), u64::try_from(stat.st_size).unwrap_or_default()))
}

/// Enters a folder from the one above it, if it is one and not a link to one.
///
/// # Errors
///
/// As the file system says.
pub fn enter(above: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(above, name, flags, Mode::empty())
}

/// Opens a regular file below a folder, by the kernel's own rule: no `..`, no links, no wait for a peer. The folder
/// itself is no link either.
///
/// # Errors
///
/// As the file system says; `NotFound` if it is no regular file.
pub fn open(folder: &Path, path: &str) -> io::Result<File> {
    let base = enter(CWD, folder)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file: File = openat2(base, path, flags, Mode::empty(), resolve)?.into();
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn pipe(path: &Path) {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, 0o600.into(), 0).unwrap();
    }

    #[test]
    fn nothing_outside_of_the_folder_is_opened() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        let folder = outside.path().join(ARTIFACTS_FOLDER);
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::write(folder.join("deep/page"), "x").unwrap();
        symlink(outside.path().join("secret"), folder.join("link")).unwrap();
        symlink(outside.path(), folder.join("way")).unwrap();
        pipe(&folder.join("fifo"));
        assert!(open(&folder, "deep/page").is_ok());
        for path in ["../secret", "deep/../../secret", "link", "way/secret", "fifo", "deep", "/etc/passwd", "", "."] {
            assert!(open(&folder, path).is_err(), "{path}");
        }
        symlink(outside.path(), outside.path().join("elsewhere")).unwrap();
        assert!(open(&outside.path().join("elsewhere"), "secret").is_err(), "the folder itself is a link");
    }

    #[test]
    fn regular_files_are_listed_and_all_else_is_named() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join(ARTIFACTS_FOLDER);
        let deepest = "d/".repeat(ARTIFACT_FOLDERS_MAX);
        fs::create_dir_all(folder.join(&deepest).join("too-deep")).unwrap();
        fs::write(folder.join(&deepest).join("page"), "four").unwrap();
        fs::write(folder.join("a"), "").unwrap();
        symlink("a", folder.join("link")).unwrap();
        symlink(place.path(), folder.join("way")).unwrap();
        pipe(&folder.join("pipe"));
        let mut listing = list(place.path());
        listing.passed_over.sort();
        let deep = format!("{deepest}page");
        let files: Vec<(&str, u64)> = listing.files.iter().map(|file| (&*file.path, file.bytes)).collect();
        assert_eq!(files, [("a", 0), (&*deep, 4)]);
        assert_eq!(listing.passed_over, [&*format!("{deepest}too-deep"), "link", "pipe", "way"]);
        assert!(!listing.is_cut);
    }

    #[test]
    fn more_than_may_be_is_cut_and_a_link_in_place_of_the_folder_leads_nowhere() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join(ARTIFACTS_FOLDER);
        fs::create_dir(&folder).unwrap();
        for file in 0..=ARTIFACTS_MAX {
            fs::write(folder.join(file.to_string()), "").unwrap();
        }
        let listing = list(place.path());
        assert_eq!((listing.files.len(), listing.is_cut), (ARTIFACTS_MAX, true));
        let other = tempfile::tempdir().unwrap();
        symlink(&folder, other.path().join(ARTIFACTS_FOLDER)).unwrap();
        assert_eq!(list(other.path()), Listing::default());
        assert_eq!(list(Path::new("/nonexistent")), Listing::default());
    }
}
