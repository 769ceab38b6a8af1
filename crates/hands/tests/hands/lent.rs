//! Attempts in the slots of others that wait for them.

use std::time::Duration;

use unknot_api::work::Assignment;
use unknot_hands::worker::Phase;

use crate::support::{Bench, exists, output, shell, until};

/// Ends when the file is there.
fn waits_for(bench: &Bench, file: &str) -> Assignment {
    shell(&format!(
        "until test -e {}; do sleep 0.01; done; echo '\"went\"' > $UNKNOT_OUTPUT",
        bench.dir.path().join(file).display()
    ))
}

/// A worker that is full, down to its queue, performs what its attempts wait for; everything else has its turn.
#[tokio::test(flavor = "multi_thread")]
async fn a_lent_slot_is_used_at_once_however_full_the_worker_is() {
    let bench = Bench::with(|config| (config.slots, config.prefetch) = (1, 1));
    let parent = waits_for(&bench, "child-done");
    bench.source.give([parent.clone()]);
    until("the parent runs", Duration::from_secs(20), || exists(&bench.folder(&parent.attempt).join("log.txt"))).await;
    let next = shell("true");
    let child = Assignment { in_lent_slot: true, ..waits_for(&bench, "grandchild-done") };
    let touch = |file: &str| format!("touch {}", bench.dir.path().join(file).display());
    let grandchild = Assignment { in_lent_slot: true, ..shell(&touch("grandchild-done")) };
    bench.source.give([next.clone(), child.clone(), grandchild.clone()]);
    bench.source.end_of(&grandchild.attempt).await;
    assert_eq!(output(&bench.source.end_of(&child.attempt).await), "\"went\"");
    assert!(bench.source.reports(&next.attempt).is_empty(), "it stands for the slot that its worker has");
    std::fs::write(bench.dir.path().join("child-done"), "").unwrap();
    assert_eq!(output(&bench.source.end_of(&parent.attempt).await), "\"went\"");
    bench.source.end_of(&next.attempt).await;
    bench.close(Phase::Stopping).await;
}
