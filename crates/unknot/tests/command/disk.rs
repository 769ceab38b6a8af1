//! Disks that are full for a while, real ones: a small tmpfs in a mount namespace of the test's own.

use super::support::Bench;
use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// Names the folder that the inner test works in.
const INSIDE: &str = "UNKNOT_TEST_MOUNT";

/// Starts a test of this binary again in a mount namespace, on a small disk of its own. False where that is refused.
fn run_inside(test: &str, options: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o {options} none \"${INSIDE}\" || exit 77; exec \"$0\" --exact {test} --nocapture --test-threads 1"
    );
    let inside = Command::new("unshare")
        .args(["-rm", "--propagation", "private", "sh", "-c", &script])
        .arg(env::current_exe().unwrap())
        .env(INSIDE, folder.path())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&inside.stdout), String::from_utf8_lossy(&inside.stderr));
    if inside.status.code() == Some(77) || err.starts_with("unshare:") {
        println!("\n*** SKIPPED: {test}: this machine refuses mount namespaces (`unshare -rm`) ***\n");
        return false;
    }
    assert!(inside.status.success() && out.contains("1 passed"), "{out}\n{err}");
    true
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
}

/// Makes empty files until no more can be made. What is open can still be written.
fn use_up_names(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    loop {
        let file = folder.join(format!("empty-{}", files.len()));
        match fs::write(&file, b"") {
            Ok(()) => files.push(file),
            Err(error) if is_full(&error) => return files,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Writes a file until the disk is full to its last page.
fn use_up_bytes(file: &Path) {
    let mut ballast = fs::File::create(file).unwrap();
    while ballast.write_all(&[1; 4096]).is_ok() {}
}

#[test]
fn work_goes_on_by_itself_once_a_full_disk_is_freed() {
    run_inside("disk::inside_a_full_disk", "size=24m,nr_inodes=120");
}

#[test]
fn inside_a_full_disk() {
    let Some(disk) = env::var_os(INSIDE).map(PathBuf::from) else { return };
    let bench = Bench::with(
        "name: full\ntimeout: 2m\ntasks:\n  \
         a: {exec: 'until test -e go-a; do sleep 0.01; done'}\n  \
         b: {exec: 'until test -e go-b; do sleep 0.01; done', needs: [a]}\n  \
         c: {exec: 'true', needs: [b]}\n",
    );
    let data = disk.join("data");
    let data = data.to_str().unwrap();
    let mut running = bench.start(&["run", "flow.yaml", "--data", data]);
    running.line("started");

    // No folder can be made for the next attempt, while the store, whose files are open, can still be written.
    let files = use_up_names(&disk);
    bench.write("go-a", "");
    for _ in 0..2 {
        let line = running.line("tries again");
        assert!(line.contains("cannot make the folder") && line.contains("No space left"), "{line}");
    }
    for file in files {
        fs::remove_file(file).unwrap();
    }
    running.line("started");

    // Now the store cannot be written either: the end of the second task waits for it.
    let ballast = disk.join("ballast");
    use_up_bytes(&ballast);
    bench.write("go-b", "");
    running.line("nothing can be recorded for now");
    fs::remove_file(ballast).unwrap();
    running.line("recording works again");
    let (code, printed) = running.end();
    assert_eq!(code, Some(0), "{printed}");
    let shown = bench.run(&["show", "--json", "--data", data]).code(0);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert!(shown["tasks"][1]["failures"]["shortage"].as_u64().unwrap() >= 2, "{shown}");
}
