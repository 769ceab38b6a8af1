//! Recovery: what is loaded equals what was committed.

use super::{Case, Site, fixture::*};
use std::collections::BTreeMap;
use unknot_core::{
    Seq, TaskIndex,
    continuation::{Continuation, Work},
    row::{DeadLetter, Key, Loaded, Pause, Quarantined, Row},
    run::{Idempotency, JsonText, RunStatus, TaskError},
    settings::{Pool, Queue},
};

pub(super) const CASES: &[Case] = &[
    Case { name: "every kind of live row comes back equal, in key order", run: every_kind_comes_back },
    Case { name: "an alert that is dealt with is gone, the others stay", run: alerts_go },
    Case { name: "awkward text comes back as it was", run: awkward_text_comes_back },
    Case { name: "finished runs are not loaded, their large neighbours are", run: only_the_living_are_loaded },
    Case { name: "a definition is loaded while a live run names it", run: definitions_are_pinned },
];

/// Loads, reads the same beside it, dies, loads again: all must hold exactly `rows`.
fn assert_loads(site: &mut dyn Site, mut brain: Brain, mut rows: Vec<(Key, Row)>) {
    rows.sort_by(|left, right| left.0.cmp(&right.0));
    let expected = Loaded { commit: brain.last, meta: brain.load().meta, rows };
    assert_eq!(brain.load(), expected);
    assert_eq!(brain.reader().live(&brain.namespace).expect("readable"), expected);
    drop(brain);
    assert_eq!(Brain::start(site.open()).load(), expected);
}

fn rows_of(changes: Vec<(Key, Option<Row>)>) -> Vec<(Key, Row)> {
    changes.into_iter().filter_map(|(key, row)| Some((key, row?))).collect()
}

fn every_kind_comes_back(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let (small, large) = (definition("small", 3), definition("large", 40));
    let mut inline = run(run_id(2), &small, brain.next());
    inline.labels = BTreeMap::from([("team".into(), "blue".into())]);
    inline.idempotency = Some(Idempotency { key: "k".into(), body_hash: "h".into() });
    inline.source = Some("/flows/small.yaml".into());
    let split = run(run_id(1), &large, brain.next());
    let pool = Pool { size: 3, lend: true, on_deadlock: None, implicit: false, poisoned: None, shrunk: None };
    let work = Continuation { run: split.id, stack: vec![Work::Launch { from: TaskIndex(2) }] };
    let live = vec![
        put_definition(&small),
        put_definition(&large),
        put_run(&inline),
        put_run(&split),
        put_task(split.id, 0, &queued_task(&split)),
        put_task(split.id, 17, &queued_task(&split)),
        (Key::Pool("gpu".into()), Some(Row::Pool(pool))),
        (Key::Queue("default".into()), Some(Row::Queue(Queue::default()))),
        (Key::PausedWorkflow("small".into()), Some(Row::PausedWorkflow(Pause { by: "ada".into(), since: START }))),
        (Key::Continuation(Seq(9)), Some(Row::Continuation(work))),
        (Key::Alert(Seq(11)), Some(Row::Alert(Box::new(alert(inline.id))))),
        (Key::Alert(Seq(2)), Some(Row::Alert(Box::new(alert(split.id))))),
    ];
    let letter = DeadLetter {
        task: inline.id.task(TaskIndex(1)),
        task_name: "task-1".into(),
        workflow: "small".into(),
        queue: "default".into(),
        attempts: 3,
        error: TaskError { reason: "exit".into(), message: "exited with 1".into(), exit: Some(1) },
        at: START,
        handled: true,
    };
    let poison = Quarantined {
        event: "Boom".into(),
        error: "it went off".into(),
        run: None,
        version: "0.1.0".into(),
        at: START,
    };
    let mut changes = live.clone();
    changes.push((Key::DeadLetter(letter.task), Some(Row::DeadLetter(letter))));
    changes.push((Key::Quarantine(Seq(4)), Some(Row::Quarantine(poison))));
    brain.commit(changes);
    let alerts = brain.reader().alerts(&brain.namespace).expect("readable");
    assert_eq!(alerts.value, [(Seq(2), alert(split.id)), (Seq(11), alert(inline.id))]);
    assert_loads(site, brain, rows_of(live));
}

fn alerts_go(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let put = |seq: u64| (Key::Alert(Seq(seq)), Some(Row::Alert(Box::new(alert(run_id(1))))));
    brain.commit(vec![put(1), put(2)]);
    brain.commit(vec![(Key::Alert(Seq(1)), None)]);
    assert_eq!(brain.reader().alerts(&brain.namespace).expect("readable").value, [(Seq(2), alert(run_id(1)))]);
    assert_loads(site, brain, rows_of(vec![put(2)]));
}

fn awkward_text_comes_back(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let flow = definition("flow", 1);
    let mut odd = run(run_id(1), &flow, brain.next());
    odd.input =
        JsonText(r#"{"b":1,"a":"quote \" backslash \\ newline \n","n":1e400,"big":12345678901234567890123}"#.into());
    odd.client_id = Some("null \u{0} emoji 🪢 line\u{2028}separator '); DROP TABLE run; --".into());
    odd.labels = BTreeMap::from([(String::new(), "empty name".into()), ("ü".into(), String::new())]);
    odd.tasks[0].output = Some(JsonText(format!("\"{}\"", "x".repeat(64 * 1024)).into()));
    let changes = vec![put_definition(&flow), put_run(&odd)];
    brain.commit(changes.clone());
    let ended = finished(&odd, RunStatus::Completed, brain.next());
    assert_loads(site, brain, rows_of(changes));
    let mut brain = Brain::start(site.open());
    brain.commit(end_run(&ended).into());
    let found = brain.reader().run(&brain.namespace, odd.id).expect("readable").value.expect("it is there");
    assert_eq!(found, crate::RunRecord::Finished(Box::new(ended)));
}

fn only_the_living_are_loaded(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let large = definition("large", 40);
    let (gone, stays) = (run(run_id(1), &large, brain.next()), run(run_id(2), &large, brain.next()));
    brain.commit(vec![
        put_definition(&large),
        put_run(&gone),
        put_run(&stays),
        put_task(gone.id, 3, &queued_task(&gone)),
        put_task(stays.id, 3, &queued_task(&stays)),
    ]);
    brain.commit(end_run(&finished(&gone, RunStatus::Failed, brain.next())).into());
    // The task rows of a large run stay when it ends: for people, not for the brain.
    let tasks = brain.reader().tasks(&brain.namespace, gone.id, None, Default::default()).expect("readable");
    assert_eq!(tasks.value.items, [(TaskIndex(3), queued_task(&gone))]);
    let live = vec![put_definition(&large), put_run(&stays), put_task(stays.id, 3, &queued_task(&stays))];
    assert_loads(site, brain, rows_of(live));
}

fn definitions_are_pinned(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let (used, unused) = (definition("used", 1), definition("unused", 1));
    let only = run(run_id(1), &used, brain.next());
    brain.commit(vec![put_definition(&used), put_definition(&unused), put_run(&only)]);
    let hashes = |brain: &mut Brain| -> Vec<Key> {
        brain.load().rows.into_iter().map(|(key, _)| key).filter(|key| matches!(key, Key::Definition(_))).collect()
    };
    assert_eq!(hashes(&mut brain), [Key::Definition(used.body.hash.clone())]);
    brain.commit(end_run(&finished(&only, RunStatus::Completed, brain.next())).into());
    assert_eq!(hashes(&mut brain), []);
    let kept = brain.reader().definition(&brain.namespace, &used.body.hash).expect("readable");
    assert_eq!(kept.value, Some(used));
}
