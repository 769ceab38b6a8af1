//! The analysis against the worked examples of the snapshot format, and against graphs that break it.
#![expect(clippy::disallowed_methods, reason = "tests read files")]

#[path = "common/random.rs"]
mod random;

use random::Random;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs};
use unknot_core::wait::{
    Analysis, Class, Generate, Input, NodeState, Remedy, Snapshot, analyze, analyze_reads, dot, mermaid, reduce,
};

fn examples() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/wait-graph-examples.json");
    let text = fs::read_to_string(path).expect("the examples can be read");
    let mut examples: Value = serde_json::from_str(&text).expect("the examples are JSON");
    let scenarios = examples["scenarios"].take();
    scenarios.as_array().expect("a list of scenarios").clone()
}

fn parse(text: &Value) -> Result<Input, String> {
    Input::parse(text.to_string().as_bytes()).map_err(|fault| fault.to_string())
}

fn judge(text: &Value) -> Analysis {
    match parse(text).unwrap_or_else(|fault| panic!("{fault}: {text}")) {
        Input::One(snapshot) => analyze(&snapshot),
        Input::Two(reads) => analyze_reads(&reads[0], &reads[1]),
    }
}

/// Ids one by one, or as a range.
fn ids(told: &Value) -> BTreeSet<String> {
    match told {
        Value::Array(ids) => ids.iter().map(|id| id.as_str().expect("an id").to_owned()).collect(),
        range => {
            let bound = |key: &str| range[key].as_u64().expect("a bound");
            let prefix = range["prefix"].as_str().expect("a prefix");
            (bound("from")..=bound("to")).map(|number| format!("{prefix}{number}")).collect()
        }
    }
}

fn set(ids: &[String]) -> BTreeSet<String> {
    ids.iter().cloned().collect()
}

#[test]
fn every_example_is_judged_as_the_format_says() {
    let examples = examples();
    assert_eq!(examples.len(), 22, "all examples are there");
    for example in examples {
        let id = example["id"].as_str().expect("an id");
        let expected = &example["expected"];
        let Analysis { verdict, victims, exact, explanation, .. } = judge(&example);
        assert_eq!(set(&verdict.deadlocked), ids(&expected["deadlocked"]), "{id}: deadlocked");
        let found = json!({
            "core": set(&verdict.core),
            "needs_external": set(&verdict.needs_external),
            "soft": verdict.soft,
        });
        for (key, found) in found.as_object().expect("an object") {
            match &expected[key] {
                Value::Null => assert_eq!(id, "two-pass-phantom", "only this one leaves out `{key}`"),
                Value::Bool(expected) => assert_eq!(found, expected, "{id}: {key}"),
                expected => assert_eq!(ids(found), ids(expected), "{id}: {key}"),
            }
        }
        let class = match (verdict.deadlocked.is_empty(), verdict.soft, verdict.needs_external.is_empty()) {
            (false, false, _) => Class::Deadlocked,
            (false, true, _) => Class::Soft,
            (true, _, false) => Class::Stalled,
            (true, _, true) => Class::Moving,
        };
        assert_eq!(verdict.verdict, class, "{id}: verdict");
        if let Value::Array(sets) = &expected["victim_sets"] {
            assert!(sets.iter().any(|expected| ids(expected) == set(&victims)), "{id}: victims {victims:?}");
        }
        assert_eq!(victims.is_empty(), verdict.deadlocked.is_empty(), "{id}");
        assert_eq!(exact, verdict.core.len() <= 16, "{id}: exact");
        assert!(!explanation.is_empty() && explanation.len() < 40, "{id}: {explanation:?}");
    }
}

#[test]
fn a_long_chain_and_a_full_pool_need_one_victim() {
    for rule in [
        Generate::LockChain { n: 2_000, closed: true },
        Generate::PoolSaturation { n: 1_000, spare: 0 },
        Generate::FanIn { n: 1_000, k: 501, dead: 500 },
    ] {
        let analysis = analyze(&rule.snapshot());
        assert_eq!(analysis.verdict.verdict, Class::Deadlocked, "{rule:?}");
        assert_eq!((analysis.victims.len(), analysis.exact), (1, false), "{rule:?}");
    }
    for rule in [
        Generate::LockChain { n: 2_000, closed: false },
        Generate::Convoy { n: 2_000 },
        Generate::PoolSaturation { n: 1_000, spare: 1 },
        Generate::FanIn { n: 1_000, k: 500, dead: 500 },
    ] {
        assert_eq!(reduce(&rule.snapshot()).verdict, Class::Moving, "{rule:?}");
    }
}

/// A graph of nodes that wait, `r` excepted, which runs; locks hold one unit.
fn graph(nodes: &[&str], resources: &[(&str, u64)], holds: &[(&str, &str, u64)], waits: &[(&str, Value)]) -> Value {
    let state = |id: &str| match id {
        "r" => "running",
        "failed" => "failed",
        "cancelled" => "cancelled",
        _ => "waiting",
    };
    json!({
        "nodes": nodes.iter().map(|id| json!({"id": id, "state": state(id)})).collect::<Vec<_>>(),
        "resources": resources.iter().map(|(id, units)| json!({"id": id, "units": units, "queue": "fifo"})).collect::<Vec<_>>(),
        "holds": holds.iter().map(|(node, resource, units)| json!({"node": node, "resource": resource, "units": units})).collect::<Vec<_>>(),
        "waits": waits.iter().map(|(node, expr)| json!({"node": node, "expr": expr})).collect::<Vec<_>>(),
    })
}

fn all(parts: &[Value]) -> Value {
    json!({"mode": "all", "of": parts})
}

fn units(resource: &str, units: u64) -> Value {
    json!({"resource": resource, "units": units})
}

fn success(node: &str) -> Value {
    json!({"node": node, "until": "success"})
}

#[test]
fn whoever_depends_on_the_end_of_a_victim_is_counted() {
    // To end `a` leaves `c` without the success that it waits for; to end `b` frees both.
    let ring = [("a", "A", 1), ("b", "B", 1)];
    let waits = [("a", all(&[units("B", 1)])), ("b", all(&[units("A", 1)])), ("c", all(&[success("a")]))];
    let found = judge(&graph(&["a", "b", "c"], &[("A", 1), ("B", 1)], &ring, &waits));
    assert_eq!((found.victims, found.exact), (vec!["b".to_owned()], true));
    // Here there is no such choice.
    let waits = [("a", all(&[success("failed")])), ("c", all(&[success("a")])), ("d", all(&[success("c")]))];
    let found = judge(&graph(&["failed", "a", "c", "d"], &[], &[], &waits));
    assert_eq!(found.verdict.core, ["a"]);
    assert_eq!((found.victims, found.exact), (["a", "c", "d"].map(str::to_owned).to_vec(), true));
}

#[test]
fn the_cheapest_is_chosen_and_of_equals_the_youngest() {
    let ring = |a: Value, b: Value| {
        let waits = [("a", all(&[units("B", 1)])), ("b", all(&[units("A", 1)]))];
        let mut text = graph(&["a", "b"], &[("A", 1), ("B", 1)], &[("a", "A", 1), ("b", "B", 1)], &waits);
        (text["nodes"][0]["cost"], text["nodes"][1]["cost"]) = (a, b);
        judge(&text).victims.concat()
    };
    assert_eq!(ring(json!(2.5), json!(2)), "b");
    assert_eq!(ring(json!(0.5), Value::Null), "a");
    assert_eq!(ring(Value::Null, Value::Null), "b");
}

#[test]
fn a_cause_is_not_blamed_for_a_part_that_holds() {
    // `x` and `y` wait for each other; that `z` holds a unit of a pool with room to spare has no part in it.
    let waits = [
        ("x", all(&[units("P", 1), json!({"node": "y", "until": "terminal"})])),
        ("y", all(&[json!({"node": "x", "until": "terminal"})])),
        ("z", all(&[json!({"node": "z", "until": "terminal"})])),
    ];
    let found = judge(&graph(&["x", "y", "z"], &[("P", 5)], &[("z", "P", 1)], &waits));
    assert_eq!(found.verdict.core, ["x", "y", "z"], "two causes beside each other");
    assert_eq!(found.victims.len(), 2);
}

#[test]
fn all_who_stand_earlier_in_a_line_hold_up_whoever_stands_behind_them() {
    // `y` stands between `x` and `z` without needing the lock: `z` waits for `x` no less than for `y`, and `y` for `z`.
    let end = |of: &str| json!({"node": of, "until": "terminal"});
    let waits = [
        ("x", all(&[units("L", 1), end("x")])),
        ("y", all(&[json!({"mode": "any", "of": [units("L", 1), {"timer": true}]}), end("z")])),
        ("z", all(&[units("L", 1)])),
    ];
    let found = judge(&graph(&["x", "y", "z"], &[("L", 1)], &[], &waits));
    assert_eq!(found.verdict.core, ["x"]);
    assert_eq!(found.victims, ["x", "z"]);
    // Without `x`, the two are the cause.
    let found = judge(&graph(&["y", "z"], &[("L", 1)], &[], &waits[1..]));
    assert_eq!(found.verdict.core, ["y", "z"]);
    // The nearest is named first, and whoever is behind it too: the ring goes by `a`, not by `b`.
    let waits = [
        ("a", all(&[json!({"mode": "any", "of": [units("L", 1), {"timer": true}]}), end("c")])),
        ("b", all(&[json!({"mode": "any", "of": [units("L", 1), {"timer": true}]}), end("a")])),
        ("c", all(&[units("L", 1)])),
    ];
    let found = judge(&graph(&["a", "b", "c"], &[("L", 1)], &[], &waits));
    assert_eq!(found.verdict.core, ["a", "b", "c"]);
    let sentences = found.explanation.join("\n");
    assert!(sentences.contains("`c` waits for `L`, behind `b` and `a` in its queue"), "{sentences}");
    assert!(sentences.contains("`b` is caught in the same"), "{sentences}");
}

#[test]
fn orphans_get_a_repair() {
    let repairs = |text: &Value| {
        let found = judge(text);
        assert_eq!(found.verdict.deadlocked, found.verdict.core, "{found:?}");
        found.repairs.into_iter().map(|repair| repair.remedy).collect::<Vec<_>>()
    };
    let large = graph(&["a"], &[("P", 4)], &[("a", "P", 1)], &[("a", all(&[units("P", 4)]))]);
    assert_eq!(repairs(&large), [Remedy::RaiseCapacity { resource: "P".into(), units: 5 }]);
    let mut leak = graph(&["a", "failed"], &[("P", 4)], &[("failed", "P", 2)], &[("a", all(&[units("P", 3)]))]);
    leak["holds"][0]["leaked"] = json!(true);
    assert_eq!(repairs(&leak), [Remedy::Release { resource: "P".into(), units: 2 }]);
    for gone in ["failed", "cancelled"] {
        let waits = [("a", all(&[success(gone)]))];
        assert_eq!(repairs(&graph(&["a", gone], &[], &[], &waits)), [Remedy::Rerun { after: gone.into() }]);
    }
    let mut unsent = graph(&["a", "cancelled"], &[], &[], &[("a", all(&[json!({"consumable": "go"})]))]);
    unsent["consumables"] = json!([{"id": "go", "producers": ["cancelled"]}]);
    assert_eq!(repairs(&unsent), [Remedy::Send { consumable: "go".into() }]);
    let wide = json!({"mode": "k", "k": 3, "of": [success("r"), {"timer": true}]});
    assert_eq!(repairs(&graph(&["a", "r"], &[], &[], &[("a", wide)])), [Remedy::AskLess { parts: 2 }]);
    // A ring is no orphan: each would go on if the other did.
    let ring = [("a", all(&[success("b")])), ("b", all(&[success("a")]))];
    assert_eq!(repairs(&graph(&["a", "b"], &[], &[], &ring)), []);
}

#[test]
fn units_are_free_only_if_somebody_gave_them_back() {
    let verdict = |hold: Value, units_asked: u64| {
        let text = json!({
            "nodes": [{"id": "a", "state": "waiting"}, {"id": "b", "state": "done", "gen": 2}, {"id": "r", "state": "running", "gen": 2}],
            "resources": [{"id": "L", "units": 2, "queue": "any"}],
            "holds": [hold],
            "waits": [{"node": "a", "expr": all(&[units("L", units_asked)])}],
        });
        judge(&text).verdict.verdict
    };
    let hold = |node: &str, units: u64| json!({"node": node, "resource": "L", "units": units});
    assert_eq!(verdict(hold("b", 1), 2), Class::Moving, "given back at the end");
    let mut leaked = hold("b", 1);
    leaked["leaked"] = json!(true);
    assert_eq!(verdict(leaked.clone(), 2), Class::Deadlocked);
    assert_eq!(verdict(leaked.clone(), 1), Class::Moving);
    leaked["gen"] = json!(1);
    assert_eq!(verdict(leaked, 2), Class::Moving, "of an attempt that was fenced off");
    // A pool that was made smaller than what is held of it gives nobody more than it has.
    assert_eq!(verdict(hold("r", 3), 2), Class::Moving);
    assert_eq!(verdict(hold("r", 3), 3), Class::Deadlocked);
}

#[test]
fn what_is_no_graph_is_told_by_its_place() {
    let node = |id: &str| json!({"id": id, "state": "waiting"});
    let waits = |expr: Value| json!({"nodes": [node("a")], "resources": [{"id": "pool", "units": 1, "queue": "any"}], "waits": [{"node": "a", "expr": expr}]});
    for (text, told) in [
        (json!([]), "a wait graph is a JSON object"),
        (json!({"nodes": {}}), "invalid type: map, expected a sequence at line 1 column"),
        (json!({}), "nodes: it is missing"),
        (json!({"scenarios": []}), "give one of them"),
        (json!({"nodes": [{"id": "a", "state": "asleep"}]}), "unknown variant `asleep`"),
        (json!({"nodes": [node("a"), node("a")]}), "nodes[1].id: `a` is there already, at nodes[0]"),
        (json!({"nodes": [{"id": "a", "state": "waiting", "cost": -1}]}), "nodes[0].cost"),
        (
            json!({"nodes": [node("a")], "holds": [{"node": "b", "resource": "L", "units": 1}]}),
            "holds[0].node: there is no node `b`",
        ),
        (
            json!({"nodes": [node("a")], "holds": [{"node": "a", "resource": "L", "units": -1}]}),
            "invalid value: integer `-1`",
        ),
        (
            json!({"nodes": [node("a")], "consumables": [{"id": "c", "producers": ["b"]}]}),
            "consumables[0].producers[0]",
        ),
        (json!({"nodes": [node("a")], "generate": {"kind": "convoy", "n": 1}}), "give one of"),
        (json!({"generate": {"kind": "convoy", "n": 0}}), "`n` is 0; it may be 1 to 200000"),
        (json!({"generate": {"kind": "pool_saturation", "n": 1, "spare": 2}}), "more than `n`"),
        (json!({"generate": {"kind": "tree", "n": 1}}), "unknown variant `tree`"),
        (json!({"snapshots": [{}]}), "two reads are compared, and here are 1"),
        (json!({"snapshots": [{"nodes": [node("a"), node("a")]}, {}]}), "snapshots[0].nodes[1].id"),
        (waits(json!({"mode": "k", "of": []})), "needs the key `k`"),
        (waits(json!({"mode": "all", "of": [{"mode": "k", "of": []}]})), "missing field `k`"),
        (waits(json!([])), "invalid length 0, expected an expression, as `{mode, of}`"),
        (json!({"generate": 3}), "invalid type: integer `3`, expected a rule"),
        (waits(json!({"mode": "all", "of": [{}]})), "exactly one of `mode`, `resource`"),
        (waits(json!({"mode": "all", "of": [{"timer": true, "consumable": "c"}]})), "exactly one of"),
        (waits(json!({"mode": "all", "of": [{"node": "a"}]})), "missing field `until`"),
        (waits(all(&[units("pol", 1)])), "waits[0].expr: there is no resource `pol`; did you mean `pool`?"),
        (waits(all(&[units("pool", 1), all(&[units("pool", 1)])])), "stands here twice"),
    ] {
        let fault = parse(&text).expect_err("no wait graph");
        assert!(fault.contains(told), "{text}\n  says  {fault}\n  not   {told}");
    }
    let deep = format!("{}{}{}", "{\"mode\":\"all\",\"of\":[".repeat(10_000), "{\"timer\":true}", "]}".repeat(10_000));
    let text = format!(
        "{{\"nodes\": [{{\"id\": \"a\", \"state\": \"waiting\"}}], \"waits\": [{{\"node\": \"a\", \"expr\": {deep}}}]}}"
    );
    let fault = Input::parse(text.as_bytes()).expect_err("too deep").to_string();
    assert!(fault.contains("recursion limit"), "{fault}");
}

/// Every example with one piece of text cut, doubled or changed: an answer or a fault, never a panic.
#[test]
fn a_damaged_file_is_no_panic() {
    let mut random = 7_u64;
    let mut below = |bound: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % bound
    };
    let pieces = [
        "0",
        "-1",
        "18446744073709551615",
        "1e400",
        "null",
        "[]",
        "{}",
        "\"\"",
        "\"a\"",
        ":",
        ",",
        "\u{0}",
        "\"k\"",
        "any",
    ];
    let lists = examples().into_iter().filter(|example| example["generate"].is_null());
    let small: Vec<String> = lists.map(|example| example.to_string()).collect();
    let mut judged = 0;
    for _ in 0..3_000 {
        let text = &small[below(small.len())];
        let letters: Vec<char> = text.chars().collect();
        let (from, cut) = (below(letters.len()), below(12));
        let to = (from + cut).min(letters.len());
        let piece = pieces[below(pieces.len())].chars();
        let text: String = letters[..from].iter().copied().chain(piece).chain(letters[to..].iter().copied()).collect();
        if let Ok(Input::One(snapshot)) = Input::parse(text.as_bytes()) {
            let found = analyze(&snapshot);
            assert!(dot(&snapshot, &found.verdict).ends_with("}\n"));
            judged += 1;
        }
    }
    assert!(judged > 50, "some remain graphs: {judged}");
}

#[test]
fn drawings_show_the_ring_and_escape_what_commands() {
    let waits = [("a\"#1", all(&[units("B", 1)])), ("b", all(&[units("A", 1)]))];
    let text = graph(&["a\"#1", "b"], &[("A", 1), ("B", 1)], &[("a\"#1", "A", 1), ("b", "B", 1)], &waits);
    let snapshot: Snapshot = serde_json::from_value(text).expect("a snapshot");
    let verdict = reduce(&snapshot);
    let drawn = dot(&snapshot, &verdict);
    for line in [
        "n0 [label=\"a\\\"#1\", shape=box, fillcolor=\"#ff9999\"];",
        "n0 -> r1 [label=\"waits for 1\"];",
        "r1 -> n1 [label=\"1 held by\"];",
    ] {
        assert!(drawn.contains(line), "{line} is missing in\n{drawn}");
    }
    let drawn = mermaid(&snapshot, &verdict);
    for line in ["n0[\"a#34;#35;1\"]", "style n0 fill:#ff9999", "n0 -->|\"waits for 1\"| r1", "r0([\"A\"])"] {
        assert!(drawn.contains(line), "{line} is missing in\n{drawn}");
    }
    let large = Generate::Convoy { n: 5_000 }.snapshot();
    assert!(dot(&large, &reduce(&large)).lines().count() < 400);
}

/// Nodes that wait for the ends of others: `a<b,c!` waits for the end of b and the success of c, `a<any(b,c)` for one of them.
fn ends(rules: &str) -> Snapshot {
    let rules: Vec<(&str, &str)> = rules.split_whitespace().map(|rule| rule.split_once('<').expect("a rule")).collect();
    let nodes: Vec<Value> = rules.iter().map(|(id, _)| json!({"id": id, "state": "waiting"})).collect();
    let term = |term: &str| match term.strip_suffix('!') {
        Some(node) => json!({"node": node, "until": "success"}),
        None => json!({"node": term, "until": "terminal"}),
    };
    let wait = |(id, of): &(&str, &str)| {
        let any = of.strip_prefix("any(").and_then(|of| of.strip_suffix(')'));
        let of: Vec<Value> = any.unwrap_or(of).split(',').map(term).collect();
        json!({"node": id, "expr": {"mode": if any.is_some() { "any" } else { "all" }, "of": of}})
    };
    let waits: Vec<Value> = rules.iter().map(wait).collect();
    serde_json::from_value(json!({"nodes": nodes, "waits": waits})).expect("a snapshot")
}

#[test]
fn whoever_could_not_be_spared_before_another_was_is_spared_after_it() {
    // Too many in the core to try all. n26 waits for the success of n25, which it can only have while that is no victim
    // itself.
    let snapshot = ends(
        "n0<n24,n20 n1<any(n25,n14) n2<n8!,n25 n3<n6,n24 n4<n0 n5<any(n7!,n10) n6<n5,n20 n7<n22,n2 n8<n26,n5 n9<n1,n1 \
         n10<any(n16,n0!) n11<any(n7,n13) n12<n16 n13<any(n11,n2) n14<n23,n20 n15<any(n25,n20) n16<n18,n16 n17<any(n2!,n2) \
         n18<n23!,n13 n19<any(n7,n20) n20<n21 n21<n10,n13 n22<n25,n3! n23<n7,n7 n24<any(n17!,n24!) n25<n19,n16 n26<n25!,n21 \
         n27<any(n10,n16)",
    );
    let analysis = analyze(&snapshot);
    assert_eq!((analysis.victims, analysis.exact), (vec!["n16".to_owned(), "n21".to_owned()], false));
}

#[test]
fn one_whose_end_frees_all_is_found_among_many() {
    // Two ways lead on from n7, both of which lead back to n0.
    let ring: String = (0..17).map(|n| format!("n{n}<n{} ", (n + 1) % 17)).collect();
    let analysis = analyze(&ends(&ring.replace("n7<n8", "n7<n8,n16").replace("n8<n9", "n8<n9,n0")));
    assert_eq!((analysis.verdict.core.len(), analysis.exact), (17, false));
    assert_eq!(analysis.victims, ["n7"], "the youngest through which all rings lead");
}

#[test]
fn victims_free_everybody_and_none_of_them_can_be_spared() {
    let mut random = Random(1_117);
    let (mut many, mut inexact) = (0, 0);
    for _ in 0..400 {
        let count = 17 + random.below(12);
        let mut rule = |node: usize| {
            let mut term = || format!("n{}{}", random.below(count), if random.one_in(4) { "!" } else { "" });
            let (one, other) = (term(), term());
            match random.below(3) {
                0 => format!("n{node}<{one}"),
                1 => format!("n{node}<{one},{other}"),
                _ => format!("n{node}<any({one},{other})"),
            }
        };
        let rules: Vec<String> = (0..count).map(&mut rule).collect();
        let snapshot = ends(&rules.join(" "));
        let analysis = analyze(&snapshot);
        let left = |ended: &[String]| {
            let mut snapshot = snapshot.clone();
            let ended = snapshot.nodes.iter_mut().filter(|node| ended.contains(&node.id));
            ended.for_each(|node| node.state = NodeState::Cancelled);
            reduce(&snapshot).deadlocked
        };
        assert_eq!(left(&analysis.victims), Vec::<String>::new(), "{rules:?}");
        for spared in &analysis.victims {
            let others: Vec<String> = analysis.victims.iter().filter(|id| *id != spared).cloned().collect();
            assert!(!left(&others).is_empty(), "{spared} of {others:?} in {rules:?}");
        }
        many += usize::from(analysis.victims.len() > 1);
        inexact += usize::from(!analysis.exact && analysis.victims.len() > 1);
    }
    assert!(many > 50 && inexact > 20, "{many} with more than one victim, {inexact} of them not exact");
}

#[test]
fn a_long_chain_behind_a_failure_is_judged_exactly() {
    let rules: Vec<String> = (0..40).map(|n| format!("n{n}<n{}!", n + 1)).collect();
    let mut snapshot = ends(&rules.join(" "));
    let failed = serde_json::from_value(json!({"id": "n40", "state": "failed"})).expect("a node");
    snapshot.nodes.push(failed);
    let analysis = analyze(&snapshot);
    assert_eq!((analysis.victims.len(), analysis.exact, analysis.verdict.core.len()), (40, true, 1));
}

#[test]
fn a_request_for_nothing_waits_where_less_than_nothing_is_left() {
    let snapshot = serde_json::from_value(json!({
        "nodes": [{"id": "n1", "state": "waiting"}, {"id": "n3", "state": "waiting"}],
        "resources": [{"id": "r", "units": 1, "queue": "any"}],
        "holds": [{"node": "n3", "resource": "r", "units": 2, "leaked": true}],
        "waits": [
            {"node": "n3", "expr": {"mode": "all", "of": [{"resource": "r", "units": 1}]}},
            {"node": "n1", "expr": {"mode": "all", "of": [{"resource": "r", "units": 0}]}},
        ],
    }));
    let analysis = analyze(&snapshot.expect("a snapshot"));
    assert_eq!(analysis.verdict.deadlocked, ["n1", "n3"]);
    assert_eq!(
        (analysis.verdict.core, analysis.victims, analysis.exact),
        (vec!["n1".to_owned(), "n3".to_owned()], vec!["n1".to_owned(), "n3".to_owned()], true)
    );
}

#[test]
fn a_read_that_is_no_graph_is_refused() {
    for (read, told) in [
        ("{}", "snapshots[1].nodes: it is missing"),
        (
            r#"{"generate":{"kind":"lock_chain","n":3,"closed":true}}"#,
            "snapshots[1].nodes: a read is a graph of its own",
        ),
        (r#"{"nodes":[],"snapshots":[]}"#, "snapshots[1].nodes: a read is a graph of its own"),
    ] {
        let text = format!(r#"{{"snapshots":[{{"nodes":[]}},{read}]}}"#);
        let fault = Input::parse(text.as_bytes()).expect_err("it is refused").to_string();
        assert!(fault.starts_with(told), "{fault}");
    }
}
