//! Removing the folders of attempts in small pieces, whatever these have left in them.
//!
//! There may be millions of files, folders without rights (some tools leave theirs read-only), folders deeper than a
//! path may be long, links and pipes. Nothing is followed and nothing is opened but folders.

use std::{
    fs::{self, DirEntry, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// How deep a folder is gone through where it is; what lies deeper is moved up first, so that no path gets too long:
/// a name has 255 bytes, a path 4,096.
const DEPTH_MAX: usize = 8;
/// How many folders of one folder are remembered at a time.
const BREADTH_MAX: usize = 1_000;

/// Removes what has this path, but no more than `budget` entries of it; what was removed is taken off the budget.
/// Says whether nothing is left. Call it again to go on.
///
/// # Errors
///
/// If something in there cannot be removed by this user.
pub fn remove_some(path: &Path, budget: &mut usize) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return fs::remove_file(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            *budget = budget.saturating_sub(1);
            return Ok(true);
        }
        Err(error) => return Err(error),
    }
    let mut walk = Walk { root: path, moved: 0, budget };
    // Each folder before those in it: what comes last is looked at next, and again once they are gone.
    let mut stack = vec![path.to_owned()];
    while let Some(folder) = stack.last().cloned() {
        if *walk.budget == 0 {
            return Ok(false);
        }
        let within = walk.empty(&folder).or_else(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                fs::set_permissions(&folder, Permissions::from_mode(0o700)).and_then(|()| walk.empty(&folder))
            }
            _ => Err(error),
        })?;
        match within {
            Found::Nothing if *walk.budget == 0 => return Ok(false),
            Found::Nothing => {
                fs::remove_dir(&folder)?;
                *walk.budget -= 1;
                stack.pop();
            }
            Found::Folders(folders) => stack.extend(folders),
            Found::TooMuch => return Ok(false),
        }
    }
    Ok(true)
}

/// Removes what has this path, however long that takes.
///
/// # Errors
///
/// If something in there cannot be removed by this user.
pub fn remove_whole(path: &Path) -> io::Result<()> {
    while !remove_some(path, &mut usize::MAX.clone())? {}
    Ok(())
}

/// What a folder still has once its files are removed.
enum Found {
    Nothing,
    Folders(Vec<PathBuf>),
    /// Files that the budget did not suffice for.
    TooMuch,
}

struct Walk<'a> {
    root: &'a Path,
    /// Numbers the folders that were moved up.
    moved: u64,
    budget: &'a mut usize,
}

impl Walk<'_> {
    /// Removes the files of a folder, and names the folders in it.
    fn empty(&mut self, folder: &Path) -> io::Result<Found> {
        let depth = folder.components().count() - self.root.components().count();
        let mut folders = Vec::new();
        for entry in fs::read_dir(folder)? {
            if *self.budget == 0 {
                return Ok(Found::TooMuch);
            }
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                *self.budget -= 1;
            } else if depth >= DEPTH_MAX {
                folders.push(self.move_up(&entry)?);
                *self.budget -= 1;
            } else {
                folders.push(entry.path());
            }
            if folders.len() >= BREADTH_MAX {
                break;
            }
        }
        Ok(if folders.is_empty() { Found::Nothing } else { Found::Folders(folders) })
    }

    fn move_up(&mut self, entry: &DirEntry) -> io::Result<PathBuf> {
        // A folder that gets another parent is written to.
        fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
        loop {
            self.moved += 1;
            let place = self.root.join(format!("moved-{}", self.moved));
            if fs::symlink_metadata(&place).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                return fs::rename(entry.path(), &place).map(|()| place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn much_is_removed_in_small_pieces() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let run = place.path().join("run");
        for task in 0..30 {
            let folder = run.join(format!("task-{task}/att/artifacts"));
            fs::create_dir_all(&folder).expect("made");
            for file in 0..10 {
                fs::write(folder.join(format!("file-{file}")), "text").expect("written");
            }
        }
        let entries = 1 + 30 * 3 + 300;
        let mut pieces = 0;
        loop {
            let mut budget = 50;
            let is_gone = remove_some(&run, &mut budget).expect("ours");
            pieces += 1;
            if is_gone {
                break;
            }
            assert_eq!(budget, 0, "a piece is as large as it may be");
        }
        assert_eq!(pieces, usize::div_ceil(entries, 50));
        assert!(!run.exists());
        assert!(remove_some(&run, &mut 1).expect("it is gone"), "what is gone is gone");
    }

    #[test]
    fn folders_without_rights_are_opened_up() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let run = place.path().join("run");
        let locked = run.join("module/cache");
        fs::create_dir_all(&locked).expect("made");
        fs::write(locked.join("file"), "text").expect("written");
        for folder in [&locked, &run.join("module")] {
            fs::set_permissions(folder, Permissions::from_mode(0o500)).expect("ours");
        }
        remove_whole(&run).expect("ours");
        assert!(!run.exists());
    }

    #[test]
    fn links_and_depths_lead_nowhere() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let stranger = place.path().join("stranger");
        fs::create_dir(&stranger).expect("made");
        fs::write(stranger.join("file"), "precious").expect("written");
        let run = place.path().join("run");
        fs::create_dir(&run).expect("made");
        symlink(&stranger, run.join("link")).expect("made");
        // Deeper than a path is long: each part is made beside the others and put into the next.
        let mut deep = place.path().join("part");
        for number in 0..200 {
            let next = place.path().join(format!("next-{number}"));
            let below = next.join("x".repeat(200));
            fs::create_dir_all(&below).expect("made");
            if deep.exists() {
                fs::rename(&deep, below.join("y")).expect("moved");
            }
            deep = next;
        }
        fs::rename(deep, run.join("moved-1")).expect("moved");
        let mut pieces = 0;
        while !remove_some(&run, &mut 100).expect("ours") {
            pieces += 1;
            assert!(pieces < 1_000, "it comes to an end");
        }
        assert!(stranger.join("file").exists() && !run.exists());
        symlink(&stranger, &run).expect("made");
        remove_whole(&run).expect("ours");
        assert!(stranger.join("file").exists() && !run.exists(), "a link in its place is only a link");
    }
}
