//! Single runs, their tasks and their history; what commands need to know.

use super::{Case, Site, fixture::*};
use crate::{EventCursor, FactsQuery, Namespace, PageSize, RunRecord, changes::HISTORY_WINDOW};
use unknot_core::{
    CommitSeq, TaskIndex,
    row::{HistoryKind, Key, Row},
    run::{Idempotency, Run, RunStatus, TaskStatus},
};

pub(super) const CASES: &[Case] = &[
    Case { name: "a run is found while it lives and after it ended", run: runs_are_found },
    Case { name: "an unknown namespace reads as an empty one", run: unknown_namespaces_are_empty },
    Case { name: "tasks come in pages, from inside the run and from rows", run: tasks_come_in_pages },
    Case { name: "a run's history is found among others', in pages", run: history_is_found },
    Case { name: "the history of a run that spans many commits is found", run: long_history_is_found },
    Case { name: "few of many tasks are read without the others", run: few_of_many_are_read },
    Case { name: "facts know finished runs only", run: facts_know_the_finished },
    Case { name: "the newest runs of a file are found", run: sources_find_runs },
    Case { name: "a reader sees commits made after it was opened", run: readers_see_later_commits },
];

fn runs_are_found(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let flow = definition("flow", 2);
    let first = run(run_id(1), &flow, brain.next());
    brain.commit(vec![put_definition(&flow), put_run(&first)]);
    let mut reader = brain.reader();
    let found = reader.run(&brain.namespace, first.id).expect("readable");
    assert_eq!((found.as_of, found.value), (brain.last, Some(RunRecord::Live(Box::new(first.clone())))));
    let ended = finished(&first, RunStatus::TimedOut, brain.next());
    brain.commit(end_run(&ended).into());
    let found = reader.run(&brain.namespace, first.id).expect("readable");
    assert_eq!((found.as_of, found.value), (brain.last, Some(RunRecord::Finished(Box::new(ended)))));
    assert_eq!(reader.run(&brain.namespace, run_id(2)).expect("readable").value, None);
}

fn unknown_namespaces_are_empty(site: &mut dyn Site) {
    let brain = Brain::start(site.open());
    let nowhere: Namespace = "nowhere".parse().expect("a plain name");
    let mut reader = brain.reader();
    let runs = reader.runs(&nowhere, &Default::default(), None, PageSize::MAX).expect("readable");
    assert_eq!((runs.as_of, runs.value.items.len(), runs.value.next), (CommitSeq(0), 0, None));
    assert_eq!(reader.run(&nowhere, run_id(1)).expect("readable").value, None);
    assert_eq!(reader.counts(&nowhere).expect("readable").value, Default::default());
    assert_eq!(reader.holds(&nowhere, PageSize::MAX).expect("readable").value, Default::default());
}

fn tasks_come_in_pages(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let (small, large) = (definition("small", 5), definition("large", 40));
    let (inline, split) = (run(run_id(1), &small, brain.next()), run(run_id(2), &large, brain.next()));
    let mut changes = vec![put_definition(&small), put_definition(&large), put_run(&inline), put_run(&split)];
    // Stored out of order, and with gaps.
    changes.extend([30, 2, 11, 4, 39].map(|index| put_task(split.id, index, &queued_task(&split))));
    brain.commit(changes);
    for (run, expected) in [(inline.id, vec![0, 1, 2, 3, 4]), (split.id, vec![2, 4, 11, 30, 39])] {
        let mut reader = brain.reader();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = reader.tasks(&brain.namespace, run, after, PageSize::new(2)).expect("readable").value;
            assert!(page.items.len() <= 2);
            found.extend(page.items.iter().map(|(index, _)| index.0));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected);
    }
    assert_eq!(brain.load().rows.iter().filter(|(key, _)| matches!(key, Key::Task(_))).count(), 5);
}

/// Everything in a run's history, asked for in pages of two; stops where a finished run's ends, and
/// where a live run's has nothing more.
fn history(brain: &Brain, run: &Run) -> Vec<(EventCursor, HistoryKind)> {
    let mut reader = brain.reader();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = reader.events(&brain.namespace, run.id, after, PageSize::new(2)).expect("readable").value;
        if page.items.is_empty() {
            return found;
        }
        found.extend(page.items.iter().map(|event| (event.cursor, event.entry.event)));
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

fn at(commit: CommitSeq, line: u32) -> EventCursor {
    EventCursor { commit, line }
}

fn history_is_found(site: &mut dyn Site) {
    use HistoryKind::*;
    let mut brain = Brain::start(site.open());
    let flow = definition("flow", 1);
    brain.commit_with(vec![put_definition(&flow)], Vec::new());
    let (one, two) = (run(run_id(1), &flow, brain.next()), run(run_id(2), &flow, brain.next()));
    let lines = vec![entry(&one, RunSubmitted), entry(&two, RunSubmitted), entry(&one, TaskStarted)];
    brain.commit_with(vec![put_run(&one), put_run(&two)], lines);
    let first = brain.last;
    brain.commit_with(Vec::new(), vec![entry(&two, TaskStarted)]);
    let ended = finished(&one, RunStatus::Completed, brain.next());
    brain.commit_with(end_run(&ended).into(), vec![entry(&two, TaskWaiting), entry(&one, RunCompleted)]);
    let last = brain.last;
    assert_eq!(
        history(&brain, &one),
        [(at(first, 0), RunSubmitted), (at(first, 2), TaskStarted), (at(last, 1), RunCompleted)]
    );
    assert_eq!(history(&brain, &two).len(), 3);
    let page = brain.reader().events(&brain.namespace, one.id, None, PageSize::MAX).expect("readable").value;
    assert_eq!(page.next, None, "nothing follows the end of a run");
    let page = brain.reader().events(&brain.namespace, two.id, None, PageSize::MAX).expect("readable").value;
    assert_eq!(page.next, Some(at(last, 0)), "a live run's history goes on");
    assert_eq!(page.items[0].entry.at, two.submitted_at);
    assert_eq!(page.items[1].entry.name.as_deref(), Some("task-0"));
}

fn long_history_is_found(site: &mut dyn Site) {
    use HistoryKind::*;
    let mut brain = Brain::start(site.open());
    let flow = definition("flow", 1);
    let (long, brief) = (run(run_id(1), &flow, brain.next()), run(run_id(2), &flow, brain.next()));
    let lines = vec![entry(&long, RunSubmitted), entry(&brief, RunSubmitted)];
    brain.commit_with(vec![put_definition(&flow), put_run(&long), put_run(&brief)], lines);
    let mut expected = vec![(at(brain.last, 0), RunSubmitted)];
    // Around the edge of the window, and far beyond it; each commit is full of other runs' lines.
    for commit in 2..HISTORY_WINDOW * 3 {
        let mut lines = vec![entry(&brief, TaskWaiting)];
        let is_named = commit % 50 == 0 || (HISTORY_WINDOW - 1..HISTORY_WINDOW + 4).contains(&commit);
        if is_named {
            lines.push(entry(&long, TaskRetrying));
            expected.push((at(CommitSeq(commit), 1), TaskRetrying));
        }
        brain.commit_with(Vec::new(), lines);
    }
    let ended = finished(&long, RunStatus::Completed, brain.next());
    brain.commit_with(end_run(&ended).into(), vec![entry(&long, RunCompleted)]);
    expected.push((at(brain.last, 0), RunCompleted));
    assert_eq!(history(&brain, &long), expected);
}

fn keyed(run: &mut Run, key: &str) {
    run.idempotency = Some(Idempotency { key: key.into(), body_hash: format!("hash of {key}") });
}

fn few_of_many_are_read(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let large = definition("large", 1_000);
    let split = run(run_id(1), &large, brain.next());
    let mut changes = vec![put_definition(&large), put_run(&split)];
    changes.extend((0..1_000).step_by(3).map(|index| put_task(split.id, index, &queued_task(&split))));
    let waiting = split.untouched_task();
    changes.extend((0..1_000).skip(1).step_by(3).map(|index| put_task(split.id, index, &waiting)));
    brain.commit(changes);
    brain.commit(vec![put_task(split.id, 0, &waiting), put_task(split.id, 1, &queued_task(&split))]);
    let mut reader = brain.reader();
    let mut places = |status, most| {
        let found = reader.tasks_in(&brain.namespace, split.id, status, PageSize::new(most)).expect("readable").value;
        assert!(found.iter().all(|(_, task)| task.status() == status));
        found.into_iter().map(|(index, _)| index.0).collect::<Vec<_>>()
    };
    assert_eq!(places(TaskStatus::Queued, 3), [1, 3, 6]);
    assert_eq!(places(TaskStatus::Queued, 1_000).len(), 334);
    assert_eq!(places(TaskStatus::Pending, 3), [0, 4, 7]);
    assert_eq!(places(TaskStatus::Failed, 3), [0u32; 0]);
    for (hash, flow) in [(&large.body.hash, &large), (&definition("few", 2).body.hash, &definition("few", 2))] {
        let wanted = [0, 1, 255, 256, 999, 1_000].map(TaskIndex).into();
        let found = reader.task_definitions(&brain.namespace, hash, &wanted).expect("readable").value;
        let is_stored = flow.body.tasks.len() == 1_000;
        let expected = flow.body.indexed().filter(|(index, _)| is_stored && wanted.contains(index));
        assert!(found.iter().map(|(index, task)| (*index, task)).eq(expected));
    }
    let whole = reader.definition(&brain.namespace, &large.body.hash).expect("readable").value;
    assert_eq!(whole, Some(large));
}

fn facts_know_the_finished(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let flow = definition("flow", 1);
    let mut first = run(run_id(1), &flow, brain.next());
    keyed(&mut first, "k");
    brain.commit(vec![put_definition(&flow), put_run(&first)]);
    let query = FactsQuery { idempotency_key: Some("k".into()), run: Some(first.id) };
    let mut reader = brain.reader();
    let facts = reader.facts(&brain.namespace, &query).expect("readable");
    assert_eq!((facts.as_of, facts.key_owner, facts.ended), (brain.last, None, None));
    brain.commit(end_run(&finished(&first, RunStatus::Failed, brain.next())).into());
    let facts = reader.facts(&brain.namespace, &query).expect("readable");
    let owner = Some((first.id, "hash of k".to_owned()));
    assert_eq!((facts.as_of, facts.key_owner, facts.ended), (brain.last, owner, Some(RunStatus::Failed)));
    let other = FactsQuery { idempotency_key: Some("K".into()), run: None };
    assert_eq!(reader.facts(&brain.namespace, &other).expect("readable").key_owner, None);
    let nothing = reader.facts(&brain.namespace, &FactsQuery::default()).expect("readable");
    assert_eq!((nothing.as_of, nothing.key_owner, nothing.ended), (brain.last, None, None));
}

fn sources_find_runs(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let flow = definition("flow", 1);
    let mut changes = vec![put_definition(&flow)];
    for after_ms in 1..=5 {
        let mut from_file = run(run_id(after_ms), &flow, brain.next());
        from_file.source = Some(if after_ms == 3 { "/other.yaml" } else { "/flow.yaml" }.into());
        changes.push(put_run(&from_file));
    }
    brain.commit(changes.clone());
    let Some((_, Some(Row::Run(fourth)))) = changes.get(4) else { panic!("the fourth run") };
    brain.commit(end_run(&finished(fourth, RunStatus::Completed, brain.next())).into());
    let found = brain.reader().latest_by_source(&brain.namespace, "/flow.yaml", PageSize::new(3)).expect("readable");
    let ids: Vec<_> = found.value.iter().map(RunRecord::id).collect();
    assert_eq!(ids, [run_id(5), run_id(4), run_id(2)]);
    assert_eq!(found.value[1].status(), RunStatus::Completed);
    let none = brain.reader().latest_by_source(&brain.namespace, "/flow", PageSize::MAX).expect("readable");
    assert_eq!(none.value, []);
}

fn readers_see_later_commits(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let mut reader = brain.reader();
    for _ in 0..3 {
        brain.commit(Vec::new());
        assert_eq!(reader.counts(&brain.namespace).expect("readable").as_of, brain.last);
    }
    // A task of a large run that is put and deleted again leaves no trace.
    let large = definition("large", 40);
    let split = run(run_id(1), &large, brain.next());
    brain.commit(vec![put_definition(&large), put_run(&split), put_task(split.id, 0, &queued_task(&split))]);
    brain.commit(vec![(Key::Task(split.id.task(TaskIndex(0))), None)]);
    let tasks = reader.tasks(&brain.namespace, split.id, None, PageSize::MAX).expect("readable").value;
    assert_eq!((tasks.items, tasks.next), (Vec::new(), None));
}
