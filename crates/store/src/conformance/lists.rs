//! Lists: order, filters, pages, counts.

use super::{Case, Site, fixture::*};
use crate::{Holds, PageSize, RunFilter};
use std::collections::BTreeMap;
use unknot_core::{
    CommitSeq, Millis, RunId, Seq, TaskIndex, Timestamp,
    row::{DeadLetter, Key, Pause, Quarantined, RegisteredWorkflow, Row},
    run::{JsonText, RunStatus, TaskError},
    settings::Queue,
    workflow::DefinitionHash,
};

pub(super) const CASES: &[Case] = &[
    Case { name: "lists are the newest first, over live and finished runs", run: lists_merge },
    Case { name: "filters hold alone and together", run: filters_hold },
    Case { name: "a list read in pages is the list", run: pages_are_the_list },
    Case { name: "dead letters and quarantined events come in pages, the newest first", run: letters_come_in_pages },
    Case { name: "finished runs are counted by status", run: runs_are_counted },
    Case { name: "what is held is listed", run: holds_are_listed },
    Case { name: "registered workflows have versions, the newest first", run: workflows_have_versions },
];

const STATUSES: [RunStatus; 4] = [RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled, RunStatus::TimedOut];

/// Twenty-four runs, one per millisecond: each third one lives; workflows, clients and labels vary.
fn populate(site: &mut dyn Site) -> Brain {
    let mut brain = Brain::start(site.open());
    let flows = [definition("ant", 1), definition("bee", 1)];
    let mut changes: Vec<_> = flows.iter().map(put_definition).collect();
    let mut ends = Vec::new();
    let after_next = CommitSeq(brain.next().0 + 1);
    for after_ms in 0..24u64 {
        let place = after_ms as usize;
        let mut new = run(run_id(after_ms), &flows[place % 2], brain.next());
        new.client_id = place.is_multiple_of(4).then(|| "carol".into());
        if place.is_multiple_of(5) {
            new.labels = BTreeMap::from([("team".into(), "blue".into()), ("n".into(), after_ms.to_string())]);
        }
        if place % 6 == 2 {
            new.started = false;
        }
        changes.push(put_run(&new));
        if place % 3 != 2 {
            ends.extend(end_run(&finished(&new, STATUSES[place % 4], after_next)));
        }
    }
    brain.commit(changes);
    brain.commit(ends);
    brain
}

fn ids(brain: &Brain, filter: &RunFilter, size: PageSize) -> Vec<u64> {
    let mut reader = brain.reader();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = reader.runs(&brain.namespace, filter, after, size).expect("readable").value;
        assert!(page.items.len() <= size.items());
        found.extend(page.items.iter().map(|run| run.submitted_at.since(START).0));
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

fn newest_first(is_wanted: impl Fn(u64) -> bool) -> Vec<u64> {
    (0..24).rev().filter(|&run| is_wanted(run)).collect()
}

fn lists_merge(site: &mut dyn Site) {
    let brain = populate(site);
    let page = brain.reader().runs(&brain.namespace, &RunFilter::default(), None, PageSize::MAX).expect("readable");
    assert_eq!(page.as_of, brain.last);
    let items = page.value.items;
    assert_eq!(items.iter().map(|run| run.submitted_at.since(START).0).collect::<Vec<_>>(), newest_first(|_| true));
    let newest = &items[0];
    assert_eq!((newest.id, newest.workflow.as_str(), newest.status), (run_id(23), "bee", RunStatus::Running));
    assert_eq!(newest.ended_at, None);
    let oldest = &items[23];
    assert_eq!((oldest.id, oldest.status), (run_id(0), RunStatus::Completed));
    assert_eq!(oldest.ended_at, Some(oldest.submitted_at.plus(Millis(1_000))));
    assert_eq!(oldest.client_id.as_deref(), Some("carol"));
    assert_eq!(oldest.labels["team"], "blue");
}

fn filters_hold(site: &mut dyn Site) {
    let brain = populate(site);
    let is_live = |run: u64| run % 3 == 2;
    let check = |filter: RunFilter, is_wanted: &dyn Fn(u64) -> bool| {
        assert_eq!(ids(&brain, &filter, PageSize::MAX), newest_first(is_wanted), "{filter:?}");
    };
    let status = |status| RunFilter { status: Some(status), ..RunFilter::default() };
    check(status(RunStatus::Running), &|run| is_live(run) && run % 6 != 2);
    check(status(RunStatus::Pending), &|run| run % 6 == 2);
    check(status(RunStatus::Cancelling), &|_| false);
    check(status(RunStatus::Failed), &|run| !is_live(run) && run % 4 == 1);
    let workflow = |name: &str| RunFilter { workflow: Some(name.into()), ..RunFilter::default() };
    check(workflow("bee"), &|run| run % 2 == 1);
    check(workflow("be"), &|_| false);
    let client = RunFilter { client_id: Some("carol".into()), ..RunFilter::default() };
    check(client.clone(), &|run| run % 4 == 0);
    let label = RunFilter { label: Some(("team".into(), "blue".into())), ..RunFilter::default() };
    check(label.clone(), &|run| run % 5 == 0);
    check(RunFilter { label: Some(("team".into(), "red".into())), ..RunFilter::default() }, &|_| false);
    let since = Some(START.plus(Millis(6)));
    let until = Some(START.plus(Millis(15)));
    check(RunFilter { since, until, ..RunFilter::default() }, &|run| (6..15).contains(&run));
    check(RunFilter { since: until, until: since, ..RunFilter::default() }, &|_| false);
    check(RunFilter { since: Some(Timestamp(u64::MAX >> 16)), ..RunFilter::default() }, &|_| false);
    let all = RunFilter { status: Some(RunStatus::Completed), workflow: Some("ant".into()), until, ..client };
    check(RunFilter { label: label.label, ..all }, &|run| run == 0);
}

fn pages_are_the_list(site: &mut dyn Site) {
    let brain = populate(site);
    for size in [1, 2, 5, 23, 24, 25] {
        assert_eq!(ids(&brain, &RunFilter::default(), PageSize::new(size)), newest_first(|_| true), "by {size}");
        let bees = RunFilter { workflow: Some("bee".into()), ..RunFilter::default() };
        assert_eq!(ids(&brain, &bees, PageSize::new(size)), newest_first(|run| run % 2 == 1), "bees by {size}");
    }
}

fn holds_are_listed(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let pause = |by: &str| Pause { by: by.into(), since: START };
    let queue = |name: &str, paused| (Key::Queue(name.into()), Some(Row::Queue(Queue { paused, ..Queue::default() })));
    let workflow = |name: &str| (Key::PausedWorkflow(name.into()), Some(Row::PausedWorkflow(pause("bob"))));
    let rows = vec![queue("b", Some(pause("ada"))), queue("a", None), queue("c", Some(pause("ada"))), workflow("x")];
    brain.commit(rows);
    let mut reader = brain.reader();
    let all = reader.holds(&brain.namespace, PageSize::MAX).expect("readable");
    let named = |names: &[&str], by: &str| names.iter().map(|name| ((*name).to_owned(), pause(by))).collect();
    assert_eq!(all.as_of, brain.last);
    assert_eq!(all.value, Holds { queues: named(&["b", "c"], "ada"), workflows: named(&["x"], "bob") });
    let one = reader.holds(&brain.namespace, PageSize::new(1)).expect("readable").value;
    assert_eq!(one, Holds { queues: named(&["b"], "ada"), workflows: named(&["x"], "bob") });
    brain.commit(vec![queue("b", None), queue("c", None), (Key::PausedWorkflow("x".into()), None)]);
    assert_eq!(reader.holds(&brain.namespace, PageSize::MAX).expect("readable").value, Holds::default());
}

fn workflows_have_versions(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let registered = |name: &str, seq: u64, hash: &str| {
        let workflow = RegisteredWorkflow {
            name: name.into(),
            hash: DefinitionHash(hash.into()),
            document: JsonText(format!(r#"{{"name":"{name}","version":{seq}}}"#).into()),
            at: START.plus(Millis(seq)),
            by: "ada".into(),
        };
        (Key::Workflow(name.into(), Seq(seq)), Some(Row::Workflow(Box::new(workflow))))
    };
    brain.commit(vec![registered("ant", 1, "aa1"), registered("bee", 2, "bb1")]);
    brain.commit(vec![registered("ant", 3, "ab2"), registered("cow", 4, "cc1")]);
    let mut reader = brain.reader();
    let namespace = brain.namespace.clone();
    let page = reader.workflows(&namespace, None, PageSize::new(2)).expect("readable").value;
    let told: Vec<_> =
        page.items.iter().map(|version| (version.name.as_str(), version.seq, &*version.hash.0)).collect();
    assert_eq!(told, [("ant", Seq(3), "ab2"), ("bee", Seq(2), "bb1")]);
    let page = reader.workflows(&namespace, page.next.as_deref(), PageSize::new(2)).expect("readable").value;
    assert_eq!((page.items.len(), page.items[0].name.as_str(), page.next), (1, "cow", None));
    let versions = reader.workflow_versions(&namespace, "ant", PageSize::MAX).expect("readable").value;
    assert_eq!(versions.iter().map(|version| version.seq).collect::<Vec<_>>(), [Seq(3), Seq(1)]);
    assert_eq!((versions[1].by.as_str(), versions[1].at), ("ada", START.plus(Millis(1))));
    let mut document = |name: &str, hash: Option<&str>| {
        let found = reader.workflow(&namespace, name, hash).expect("readable").value;
        found.map(|workflow| workflow.document.value()["version"].as_u64().expect("a number"))
    };
    assert_eq!(document("ant", None), Some(3));
    assert_eq!(document("ant", Some("aa1")), Some(1));
    assert_eq!(document("ant", Some("a")), Some(3), "the newest whose hash begins so");
    assert_eq!((document("ant", Some("x")), document("dog", None)), (None, None));
    brain.commit(vec![(Key::Workflow("ant".into(), Seq(3)), None)]);
    let newest = brain.reader().workflow(&brain.namespace, "ant", None).expect("readable").value;
    assert_eq!(newest.map(|workflow| workflow.hash.0.to_string()).as_deref(), Some("aa1"));
}

fn letters_come_in_pages(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let mut changes = Vec::new();
    let mut expected = Vec::new();
    for (after_ms, place) in [(1, 0), (1, 1), (2, 12), (3, 0), (3, 3)] {
        let task = run_id(after_ms).task(TaskIndex(place));
        expected.insert(0, task);
        let error = TaskError { reason: "exit".into(), message: "exited with 1".into(), exit: Some(1) };
        let (task_name, workflow, queue) = ("t".to_owned(), "flow".to_owned(), "default".to_owned());
        let letter =
            DeadLetter { task, task_name, workflow, queue, attempts: 3, error, at: START, handled: place == 0 };
        changes.push((Key::DeadLetter(task), Some(Row::DeadLetter(letter))));
    }
    for seq in 1..=5 {
        let (event, error, version) = (format!("event {seq}"), "boom".to_owned(), "0.1.0".to_owned());
        let run: Option<RunId> = Some(run_id(seq));
        let event = Quarantined { event, error, run, version, at: START };
        changes.push((Key::Quarantine(Seq(seq)), Some(Row::Quarantine(event))));
    }
    brain.commit(changes);
    let mut reader = brain.reader();
    let (mut letters, mut after) = (Vec::new(), None);
    loop {
        let page = reader.dead_letters(&brain.namespace, after, PageSize::new(2)).expect("readable").value;
        letters.extend(page.items.iter().map(|letter| letter.task));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(letters, expected);
    let first = reader.quarantine(&brain.namespace, None, PageSize::new(4)).expect("readable").value;
    assert_eq!(first.items.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>(), [5, 4, 3, 2]);
    let rest = reader.quarantine(&brain.namespace, first.next, PageSize::new(4)).expect("readable").value;
    assert_eq!((rest.items.len(), rest.next), (1, None));
    assert_eq!(rest.items[0].1.event, "event 1");
    let counts = reader.counts(&brain.namespace).expect("readable").value;
    assert_eq!((counts.dead_letters, counts.handled_letters, counts.quarantined), (5, 2, 5));
}

fn runs_are_counted(site: &mut dyn Site) {
    let brain = populate(site);
    let counts = brain.reader().counts(&brain.namespace).expect("readable").value;
    let expected = STATUSES.map(|status| {
        let is_counted = |run: &u64| run % 3 != 2 && STATUSES[*run as usize % 4] == status;
        (status, (0..24).filter(is_counted).count() as u64)
    });
    assert_eq!(counts.finished, BTreeMap::from(expected));
}
