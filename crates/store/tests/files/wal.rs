//! The journal of recent commits does not grow for ever.

use super::{brain, folder, submit};
use std::fs;
use unknot_store::{Retention, conformance::fixture::START};

#[test]
fn upkeep_folds_the_journal_in_and_it_begins_anew() {
    let folder = folder();
    let mut brain = brain(folder.path());
    let mut upkeep = brain.store.maintenance().expect("the store is open");
    let bound = Retention { wal_bytes_max: 256 << 10, ..Retention::default() };
    let mut checkpoints = 0;
    for run in 1..=400 {
        submit(&mut brain, run);
        if run % 5 == 0 {
            let done = upkeep.maintain(&brain.namespace, brain.epoch, START, &bound).expect("nothing in the way");
            checkpoints += usize::from(done.checkpointed);
            assert!(done.footprint.wal_bytes <= bound.wal_bytes_max, "{done:?}");
        }
    }
    assert!(checkpoints > 3, "{checkpoints}");
    let wal = fs::metadata(folder.path().join("unknot.db-wal")).expect("there").len();
    assert!(wal < 3 * bound.wal_bytes_max, "{wal} bytes: its blocks are used again");
}

#[test]
fn a_reader_between_two_questions_does_not_hold_the_journal() {
    let folder = folder();
    let mut brain = brain(folder.path());
    submit(&mut brain, 1);
    let mut reader = brain.reader();
    reader.counts(&brain.namespace).expect("readable");
    (2..=40).for_each(|run| submit(&mut brain, run));
    let mut upkeep = brain.store.maintenance().expect("the store is open");
    let eager = Retention { wal_bytes_max: 0, ..Retention::default() };
    let done = upkeep.maintain(&brain.namespace, brain.epoch, START, &eager).expect("nothing in the way");
    assert!(done.checkpointed, "{done:?}");
    assert_eq!(done.footprint.wal_bytes, 0);
    assert_eq!(reader.counts(&brain.namespace).expect("readable").as_of, brain.last);
}

/// Whoever reads after a commit finds the place where it begins written down already (`aReadMark` of SQLite's index of
/// the journal, which stands for a place once a reader has begun there): on a disk that stands still nobody could.
#[test]
fn a_reader_has_nothing_to_write() {
    let folder = folder();
    let mut brain = brain(folder.path());
    for number in 1..=20 {
        submit(&mut brain, number);
        let index = fs::read(folder.path().join("unknot.db-shm")).expect("it is in use");
        let word = |at: usize| u32::from_ne_bytes(index[at..at + 4].try_into().expect("four bytes"));
        // The number of the newest frame; of how many are folded in; and the marks of readers, but for the first.
        let (newest, folded) = (word(16), word(96));
        let marks: Vec<u32> = (104..120).step_by(4).map(word).collect();
        assert!(folded == newest || marks.contains(&newest), "frame {newest}, folded {folded}, marks {marks:?}");
    }
}
