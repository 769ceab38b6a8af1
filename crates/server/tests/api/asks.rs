//! What running attempts ask under their own tokens: they wait, give back, spawn and send.

use crate::support::{Ask, Reply, Served, Setup, fails, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use unknot_engine::core::settings::PoolSettings;

/// A worker elsewhere, which performs what this test says.
struct Office {
    served: Served,
    session: String,
    received: u64,
    /// What it was given and nobody has taken up yet, by run.
    given: BTreeMap<String, Value>,
}

/// A running attempt.
struct Attempt {
    id: String,
    fence: u64,
    token: String,
    run: String,
}

impl Office {
    fn open() -> Self {
        Self::on(Served::open())
    }

    fn on(served: Served) -> Self {
        let mut office = Self { served, session: String::new(), received: 0, given: BTreeMap::new() };
        office.register();
        office
    }

    fn register(&mut self) {
        let worker = json!({"protocol": 1, "name": "far", "boot": "1", "slots": 20, "kinds": ["exec"]});
        let told = self.served.ask("POST", "/workers").json(&worker).send().is(201).json();
        self.session = told["session"].as_str().unwrap().to_owned();
        self.received = 0;
    }

    /// The attempt of a run with one `exec` task.
    fn begin(&mut self, run: &str) -> Attempt {
        until("the worker is given the attempt", || {
            let claim = json!({"session": self.session, "most": 20, "received": self.received});
            let claimed = self.served.ask("POST", "/workers/far/claim").json(&claim).send().is(200).json();
            self.received = claimed["number"].as_u64().unwrap();
            for handed in claimed["work"].as_array().unwrap() {
                self.given.insert(handed["assignment"]["run"].as_str().unwrap().to_owned(), handed.clone());
            }
            self.given.contains_key(run)
        });
        let handed = self.given.remove(run).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Attempt {
            id: text(&handed["assignment"]["attempt"]),
            fence: handed["assignment"]["fence"].as_u64().unwrap(),
            token: text(&handed["token"]),
            run: run.to_owned(),
        }
    }

    /// A new run of one task, and its attempt.
    fn attempt(&mut self, name: &str) -> Attempt {
        let run = self.served.submit(json!({"name": name, "tasks": {"work": {"exec": ["true"]}}}));
        self.begin(&run)
    }

    fn ask(&self, of: &Attempt, method: &str, path: &str) -> Ask {
        self.served.ask(method, &format!("/attempts/{}/{path}", of.id)).token(&of.token)
    }

    fn wait(&self, of: &Attempt, name: &str, awaited: Value) -> Reply {
        self.wait_with(of, json!({"name": name, "for": awaited}), "1ms")
    }

    fn wait_with(&self, of: &Attempt, request: Value, patience: &str) -> Reply {
        self.ask(of, "POST", &format!("waits?wait={patience}")).json(&request).send()
    }

    /// Asks until the wait is over.
    fn over(&self, of: &Attempt, name: &str, awaited: &Value) -> Value {
        let request = json!({"name": name, "for": awaited});
        self.wait_with(of, request, "20s").is(200).json()
    }

    fn release(&self, of: &Attempt, units: Value) -> Reply {
        self.ask(of, "POST", "release").json(&json!({"units": units})).send()
    }

    fn end(&self, of: &Attempt) {
        let ended = json!({"ended": {"at_ms": 1, "outcome": {"succeeded": {"output": {"n": 7}}}}});
        let report = json!({"attempt": of.id, "fence": of.fence, "body": ended});
        let reports = json!({"session": self.session, "reports": [report]});
        self.served.ask("POST", "/workers/far/report").json(&reports).send().is(200);
    }
}

#[test]
fn two_attempts_have_a_lock_one_after_the_other() {
    let mut office = Office::open();
    let (first, second) = (office.attempt("first"), office.attempt("second"));
    let gpu = json!({"lock": "gpu"});
    let met = office.wait(&first, "mine", gpu.clone()).is(200).json();
    assert_eq!(met, json!({"name": "mine", "outcome": "met", "granted": {"gpu": 1}}));
    assert_eq!(office.over(&first, "mine", &gpu), met, "whoever lost the answer asks again");
    let waiting = office.wait(&second, "mine", gpu.clone()).is(202).json();
    assert_eq!((&waiting["outcome"], waiting["deadline"].is_string()), (&json!("waiting"), true));
    let pool = office.served.get("/pools/gpu");
    assert_eq!((&pool["held"], &pool["waiting"]), (&json!(1), &json!(1)), "{pool}");
    assert_eq!((&pool["holders"][0]["run_id"], &pool["holders"][0]["task"]), (&json!(first.run), &json!("work")));
    assert_eq!(pool["waiters"][0]["run_id"], second.run.as_str());
    office.release(&first, json!({"gpu": 1})).is(204);
    assert_eq!(office.over(&second, "mine", &gpu)["granted"], json!({"gpu": 1}));
    office.release(&first, json!({"gpu": 1})).problem(422);
    // What is held is given back with the end of whoever holds it.
    office.wait(&first, "again", gpu.clone()).is(202);
    office.end(&second);
    assert_eq!(office.over(&first, "again", &gpu)["outcome"], "met");
}

#[test]
fn several_at_once_are_granted_together_or_not_at_all() {
    let mut office = Office::open();
    let (holder, both, other) = (office.attempt("holder"), office.attempt("both"), office.attempt("other"));
    office.wait(&holder, "a", json!({"lock": "a"})).is(200);
    let wanted = json!({"all": [{"lock": "a"}, {"lock": "b"}]});
    office.wait(&both, "both", wanted.clone()).is(202);
    assert!(office.served.get("/pools/b")["holders"].is_null(), "nothing is held while it waits for the rest");
    office.wait(&other, "b", json!({"lock": "b"})).is(200);
    office.release(&holder, json!({"a": 1})).is(204);
    office.wait(&both, "both", wanted.clone()).is(202);
    office.release(&other, json!({"b": 1})).is(204);
    assert_eq!(office.over(&both, "both", &wanted)["granted"], json!({"a": 1, "b": 1}));
    // One of them is enough, and only that is taken.
    let any = json!({"any": [{"lock": "a"}, {"lock": "c"}, {"timer": "1h"}]});
    assert_eq!(office.over(&holder, "any", &any)["granted"], json!({"c": 1}));
    let least = json!({"at_least": 2, "of": [{"lock": "a"}, {"lock": "d"}, {"timer": "1ms"}]});
    assert_eq!(office.over(&other, "least", &least)["granted"], json!({"d": 1}));
}

#[test]
fn a_wait_that_is_late_is_told_or_stops_its_attempt() {
    let mut office = Office::open();
    let (holder, late) = (office.attempt("holder"), office.attempt("late"));
    office.wait(&holder, "a", json!({"lock": "a"})).is(200);
    let request = |name: &str, then: &str| json!({"name": name, "for": {"lock": "a"}, "within": "10ms", "then": then});
    let told = office.wait_with(&late, request("one", "give_up"), "20s").is(200).json();
    assert_eq!(told, json!({"name": "one", "outcome": "timed_out"}));
    assert_eq!(office.wait(&late, "one", json!({"lock": "a"})).is(200).json(), told, "that wait is over");
    let told = office.wait_with(&late, request("two", "stop"), "20s").problem_as(409, "UK0431");
    assert!(told["detail"].as_str().unwrap().contains("is being stopped"), "{told}");
    let orders = json!({"session": office.session});
    let orders = office.served.ask("POST", "/workers/far/orders").json(&orders).send().is(200).json();
    assert_eq!(orders["orders"][0]["reason"], "timed_out", "{orders}");
    office.wait(&late, "three", json!({"timer": "1ms"})).problem_as(409, "UK0431");
    office.release(&late, json!({"a": 1})).problem_as(409, "UK0431");
}

#[test]
fn whoever_waits_no_more_says_so() {
    let mut office = Office::open();
    let (holder, other) = (office.attempt("holder"), office.attempt("other"));
    office.wait(&holder, "a", json!({"lock": "a"})).is(200);
    office.wait(&other, "a wait/of mine", json!({"lock": "a"})).is(202);
    let path = "waits/a%20wait%2Fof%20mine";
    let gone = office.ask(&other, "DELETE", path).send().is(200).json();
    assert_eq!(gone, json!({"name": "a wait/of mine", "outcome": "withdrawn"}));
    assert_eq!(office.ask(&other, "DELETE", path).send().is(200).json(), gone, "twice is as good as once");
    office.release(&holder, json!({"a": 1})).is(204);
    office.wait(&other, "next", json!({"lock": "a"})).is(200);
    let met = office.ask(&other, "DELETE", "waits/next").send().is(200).json();
    assert_eq!((&met["outcome"], &met["granted"]), (&json!("met"), &json!({"a": 1})), "it was too late for that");
}

#[test]
fn whoever_asks_again_takes_the_place_of_who_asked_before() {
    let mut office = Office::open();
    let (holder, other) = (office.attempt("holder"), office.attempt("other"));
    office.wait(&holder, "a", json!({"lock": "a"})).is(200);
    let wish = json!({"name": "w", "for": {"lock": "a"}});
    let first = office.ask(&other, "POST", "waits").json(&wish).header("Connection", "close").begin();
    until("the first has asked", || office.served.get("/pools/a")["waiting"] == 1);
    office.wait(&other, "w", json!({"lock": "a"})).is(202);
    let replaced = Reply::read(first, "the first".to_owned()).is(202).json();
    assert_eq!(replaced["outcome"], "waiting");
}

#[test]
fn only_the_attempt_itself_asks_while_it_has_its_lease() {
    let mut office = Office::open();
    let (own, other) = (office.attempt("own"), office.attempt("other"));
    let wish = json!({"name": "w", "for": {"lock": "a"}});
    let paths = [
        ("POST", "waits", Some(wish.clone())),
        ("DELETE", "waits/w", None),
        ("POST", "release", Some(json!({"units": {"a": 1}}))),
        ("POST", "children", Some(json!({"key": "k", "workflow": "w"}))),
        ("GET", "children", None),
        ("PUT", "signals/go", None),
    ];
    let asked = |method: &str, path: &str, body: &Option<Value>| {
        let asked = office.served.ask(method, &format!("/attempts/{}/{path}", own.id));
        body.as_ref().map_or(asked.clone(), |body| asked.json(body))
    };
    let admin = office.served.token(unknot_server::Scope::Admin);
    for (method, path, body) in &paths {
        asked(method, path, body).send().problem(401);
        asked(method, path, body).token("uka_wrong").send().problem(401);
        asked(method, path, body).token(&admin).send().problem(401);
        asked(method, path, body).token(&other.token).send().problem(403);
    }
    office.served.ask("PUT", &format!("/runs/{}/cancel", own.run)).send().is(200);
    for (method, path, body) in &paths {
        let told = asked(method, path, body).token(&own.token).send().problem_as(409, "UK0431");
        assert!(told["detail"].as_str().unwrap().contains("is being stopped"), "{told}");
    }
    office.end(&other);
    office.wait(&other, "w", json!({"lock": "a"})).problem_as(409, "UK0431");
    // Such a token opens nothing else.
    office.served.ask("GET", "/runs").token(&own.token).send().problem(401);
}

#[test]
fn what_cannot_be_waited_for_is_refused_and_says_why() {
    let mut office = Office::open();
    office.served.ask("PUT", "/pools/render").json(&json!({"size": 4})).send().is(200);
    let attempt = office.attempt("asks");
    for (status, awaited, told) in [
        (400, json!({"lok": "a"}), "did you mean `lock`?"),
        (400, json!({"all": [{"lock": "a"}, {"timer": 5}]}), "`for.all[1].timer`: expected a length of time"),
        (400, json!({"at_least": 2, "of": [{"lock": "a"}]}), "`for.at_least` is 2, and there are only 1 in `of`"),
        (404, json!({"pool": "rendr", "units": 2}), "there is no pool `rendr`; did you mean `render`?"),
        (422, json!({"pool": "render", "units": 5}), "5 of `render` can never be granted: it has 4"),
        (422, json!({"lock": "Big One"}), "`Big One` is no name for a pool or lock"),
        (422, json!({"all": [{"lock": "a"}, {"lock": "a"}]}), "`a` stands twice"),
        (422, json!({"child": "none"}), "has spawned no run under the key `none`"),
        (
            422,
            json!({"signal": "go", "from": ["wrk"]}),
            "`from` names `wrk`, and the run has no such task; did you mean `work`?",
        ),
        (404, json!({"signal": "No"}), "`No` is no name for a signal"),
        (422, nested(9), "8 deep at most"),
    ] {
        let problem = office.wait(&attempt, "w", awaited.clone()).problem(status);
        assert!(problem["detail"].as_str().unwrap().contains(told), "{awaited}: {problem}");
    }
    for (request, told) in [
        (json!({"name": "", "for": {"lock": "a"}}), (422, "1 to 100 characters")),
        (json!({"name": "w".repeat(101), "for": {"lock": "a"}}), (422, "1 to 100 characters")),
        (json!({"name": "w"}), (400, "missing field `for`")),
        (json!({"name": "w", "for": {"lock": "a"}, "within": "soon"}), (400, "`soon` is not a length of time")),
        (json!({"name": "w", "for": {"lock": "a"}, "then": "cry"}), (400, "expected `give_up` or `stop`")),
        (json!({"name": "w", "for": {"lock": "a"}, "until": 1}), (400, "unknown field `until`")),
    ] {
        let problem = office.wait_with(&attempt, request.clone(), "1ms").problem(told.0);
        assert!(problem["detail"].as_str().unwrap().contains(told.1), "{request}: {problem}");
    }
    office.wait_with(&attempt, json!({"name": "w", "for": {"lock": "a"}}), "21s").problem(400);
    office.release(&attempt, json!({})).problem(400);
    office.wait(&attempt, "one", json!({"signal": "never"})).is(202);
    let told = office.wait(&attempt, "two", json!({"lock": "a"})).problem_as(409, "UK0432");
    assert!(told["detail"].as_str().unwrap().contains("waits already, under the name `one`"), "{told}");
    assert_eq!(office.served.get("/pools/render")["held"], 0);
}

fn nested(deep: usize) -> Value {
    (0..deep).fold(json!({"lock": "a"}), |inner, _| json!({"any": [inner, {"timer": "1h"}]}))
}

#[test]
fn a_wait_outlives_the_server() {
    let mut office = Office::open();
    let (holder, other) = (office.attempt("holder"), office.attempt("other"));
    office.wait(&holder, "a", json!({"lock": "a"})).is(200);
    office.wait(&other, "a", json!({"lock": "a"})).is(202);
    office.served.restart();
    office.register();
    assert_eq!(office.wait(&holder, "a", json!({"lock": "a"})).is(200).json()["outcome"], "met");
    office.wait(&other, "a", json!({"lock": "a"})).is(202);
    office.release(&holder, json!({"a": 1})).is(204);
    assert_eq!(office.over(&other, "a", &json!({"lock": "a"}))["granted"], json!({"a": 1}));
}

#[test]
fn runs_are_spawned_once_a_key_and_their_ends_are_waited_for() {
    let mut office = Office::open();
    let child = json!({"name": "part", "input": {"n": {"type": "integer"}}, "output": "{{ input.n }}",
                       "tasks": {"a": {"sleep": "1ms"}}});
    office.served.ask("POST", "/workflows").json(&json!({"workflow": child})).send().is(201);
    let attempt = office.attempt("parent");
    let spawn = |wish: Value| office.ask(&attempt, "POST", "children").json(&wish).send();
    let wish = json!({"key": "one", "workflow": "part", "input": {"n": 3}, "labels": {"team": "maps"}});
    let spawned = spawn(wish.clone()).is(201).json();
    let run = spawned["run_id"].as_str().unwrap();
    assert_eq!(spawned, json!({"run_id": run, "key": "one", "existing": false}));
    assert_eq!(spawn(wish).is(200).json(), json!({"run_id": run, "key": "one", "existing": true}));
    assert_eq!(office.served.get(&format!("/runs/{run}"))["labels"], json!({"team": "maps"}));
    let met = office.over(&attempt, "one", &json!({"child": "one"}));
    assert_eq!(met["children"], json!({"one": {"run_id": run, "status": "COMPLETED", "output": 3}}));

    spawn(json!({"key": "two", "workflow": fails("fails"), "detached": true})).is(201);
    let told = office.over(&attempt, "two", &json!({"child": "two", "until": "success"}));
    assert_eq!((&told["outcome"], &told["children"]["two"]["status"]), (&json!("impossible"), &json!("FAILED")));
    let children = office.ask(&attempt, "GET", "children").send().is(200).json();
    let statuses: Vec<_> = children.as_array().unwrap().iter().map(|child| (&child["key"], &child["status"])).collect();
    assert_eq!(statuses, [(&json!("one"), &json!("COMPLETED")), (&json!("two"), &json!("FAILED"))]);

    spawn(json!({"key": "x", "workflow": "prt"})).problem(404);
    spawn(json!({"key": "x", "workflow": "part", "input": {"n": "many"}})).problem(422);
    spawn(json!({"key": "x", "workflow": {"name": "bad"}})).problem(422);
    spawn(json!({"key": "", "workflow": "part", "input": {"n": 1}})).problem(422);
    spawn(json!({"key": "x", "workflow": "part", "source": "/tmp/x.yaml"})).problem(403);
    let problem =
        spawn(json!({"key": "x", "workflow": {"name": "caller", "tasks": {"a": {"workflow": "prt"}}}})).problem(422);
    assert_eq!(problem["problems"][0]["code"], "UK0136", "{problem}");

    // Those that are not detached end with their parent.
    let long = json!({"name": "long", "tasks": {"a": {"sleep": "1h"}}});
    let run_of = |reply: Reply| reply.is(201).json()["run_id"].as_str().unwrap().to_owned();
    let ends = run_of(spawn(json!({"key": "ends", "workflow": long})));
    let stays = run_of(spawn(json!({"key": "stays", "workflow": long, "detached": true})));
    office.end(&attempt);
    office.served.until_status(&ends, "CANCELLED");
    assert_eq!(office.served.get(&format!("/runs/{stays}"))["status"], "RUNNING");
}

#[test]
fn attempts_send_signals_to_their_own_run_and_to_those_beside_it() {
    let mut office = Office::open();
    let parent_flow = json!({"name": "parent", "tasks": {"work": {"exec": ["true"]}, "ask": {"signal": "done"}}});
    let parent_run = office.served.submit(parent_flow);
    let parent = office.begin(&parent_run);
    let child = json!({"name": "child", "tasks": {"work": {"exec": ["true"]}, "ask": {"signal": "go"}}});
    let child_run =
        office.ask(&parent, "POST", "children").json(&json!({"key": "c", "workflow": child})).send().is(201);
    let child_run = child_run.json()["run_id"].as_str().unwrap().to_owned();
    let child = office.begin(&child_run);
    let stranger = office.served.submit(json!({"name": "other", "tasks": {"ask": {"signal": "go"}}}));

    let to_child = office.ask(&parent, "PUT", &format!("signals/go?run={child_run}")).json(&json!({"payload": [1]}));
    assert_eq!(to_child.send().is(200).json()["is_named"], true);
    let to_parent = office.ask(&child, "PUT", &format!("signals/done?run={parent_run}"));
    to_parent.send().is(200);
    let own = office.ask(&child, "PUT", "signals/mine").json(&json!({"payload": 7})).send().is(200).json();
    assert_eq!((&own["run_id"], &own["is_named"]), (&json!(child_run), &json!(false)));
    assert_eq!(
        office.over(&child, "mine", &json!({"signal": "mine", "from": ["work"]}))["signals"],
        json!({"mine": 7})
    );
    let shown = office.served.get(&format!("/runs/{child_run}"));
    assert_eq!(shown["signals"]["go"]["by"], format!("task work of {parent_run}"));
    assert_eq!(shown["signals"]["mine"]["by"], "task work");
    office.ask(&child, "PUT", &format!("signals/go?run={stranger}")).send().problem(403);
    office.ask(&child, "PUT", "signals/go?run=nonsense").send().problem(404);
    office.ask(&child, "PUT", "signals/No").send().problem(404);
}

#[test]
fn pools_are_made_resized_and_removed_while_everything_runs() {
    let mut office = Office::on(Served::with(Setup::default()));
    let put = |office: &Office, body: Value| office.served.ask("PUT", "/pools/render").json(&body).send();
    let made = put(&office, json!({"size": 3, "lend": true})).is(200).json();
    assert_eq!(made, json!({"name": "render", "size": 3, "held": 0, "lend": true}));
    let (one, two) = (office.attempt("one"), office.attempt("two"));
    assert_eq!(office.wait(&one, "w", json!({"pool": "render", "units": 3})).is(200).json()["granted"]["render"], 3);
    let shrunk = put(&office, json!({"size": 2})).is(200).json();
    assert_eq!((&shrunk["size"], &shrunk["held"]), (&json!(2), &json!(3)));
    office.wait(&two, "w", json!({"pool": "render", "units": 2})).is(202);
    let refused = office.served.ask("DELETE", "/pools/render").send().problem(409);
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("held by `one/work` of {}", one.run)), "{detail}");
    assert!(detail.contains(&format!("waited for by `two/work` of {}", two.run)), "{detail}");
    office.served.restart();
    office.register();
    assert_eq!(office.served.get("/pools/render")["size"], 2, "it is stored");
    put(&office, json!({"size": 5})).is(200);
    assert_eq!(office.over(&two, "w", &json!({"pool": "render", "units": 2}))["granted"]["render"], 2);

    // What was made so is known to what is submitted.
    let flow = |units: u32| json!({"workflow": {"name": "uses", "tasks": {"a": {"exec": ["true"], "pools": {"render": units}}}}});
    office.served.ask("POST", "/runs").json(&flow(6)).send().problem(422);
    let uses = office.served.ask("POST", "/runs").json(&flow(5)).send().is(201).json();
    let acquires = |units: u32| json!({"workflow": {"name": "asks", "tasks": {"a": {"exec": ["true"], "acquires": {"pools": {"render": units}}}}}});
    let refused = office.served.ask("POST", "/workflows").json(&acquires(6)).send().problem(422);
    assert_eq!(refused["problems"][0]["message"], "task `a` would hold 6 of `render`, of which there are 5");
    office.served.ask("POST", "/workflows").json(&acquires(5)).send().is(201);
    office.end(&one);
    office.end(&two);
    let refused = office.served.ask("DELETE", "/pools/render").send().problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("1 unfinished runs"), "{refused}");
    let uses = office.begin(uses["run_id"].as_str().unwrap());
    office.end(&uses);
    let gone = office.served.ask("DELETE", "/pools/render").send().is(200).json();
    assert_eq!(gone, json!({"name": "render", "is_configured": false}));
    office.served.ask("GET", "/pools/render").send().problem(404);
    office.served.ask("DELETE", "/pools/render").send().problem(404);
    for (name, body) in [("Render", json!({"size": 1})), ("render", json!({"size": 0}))] {
        office.served.ask("PUT", &format!("/pools/{name}")).json(&body).send().problem(422);
    }
    put(&office, json!({"size": -1})).problem(400);
    put(&office, json!({})).problem(400);
}

/// Who looks for a pool of the configuration that is away is told why, and how it comes back.
#[test]
fn a_configured_pool_that_was_removed_is_told_as_that() {
    let mut setup = Setup::default();
    let pool = PoolSettings { size: 4, lend: false, on_deadlock: None };
    setup.settings.pools.insert("render".to_owned(), pool);
    setup.changeable.rules.pools.insert("render".to_owned(), pool.size);
    let served = Served::with(setup);
    let gone = served.ask("DELETE", "/pools/render").send().is(200).json();
    assert_eq!(gone["is_configured"], true);
    let unknown = served.ask("GET", "/pools/render").send().problem(404);
    let detail = unknown["detail"].as_str().unwrap();
    assert!(detail.contains("removed it since") && detail.contains("`unknot pools set render N`"), "{detail}");
    assert!(!detail.contains("did you mean"), "{detail}");
    let flow = json!({"workflow": {"name": "uses", "tasks": {"a": {"exec": ["true"], "pools": {"render": 1}}}}});
    let refused = served.ask("POST", "/runs").json(&flow).send().problem(422);
    let found = &refused["problems"][0];
    assert_eq!(found["message"], "there is no pool `render` now: it is declared, and an operator has removed it since");
    assert!(found["help"].as_str().unwrap().contains("`unknot pools set render N` makes it again"), "{found}");
    served.ask("PUT", "/pools/render").json(&json!({"size": 1})).send().is(200);
    served.ask("POST", "/runs").json(&flow).send().is(201);
}

#[test]
fn a_run_is_pinned_to_the_workflows_that_it_calls() {
    let served = Served::open();
    let register = |workflow: &Value| served.ask("POST", "/workflows").json(&json!({"workflow": workflow})).send();
    let step = |length: &str| json!({"name": "step", "tasks": {"a": {"sleep": length}}});
    register(&step("1ms")).is(201);
    register(&json!({"name": "middle", "tasks": {"a": {"workflow": "step"}}})).is(201);
    let flow =
        json!({"name": "top", "tasks": {"ask": {"signal": "go"}, "a": {"needs": ["ask"], "workflow": "middle"}}});
    let run = served.submit(flow.clone());
    // What is registered later is for runs to come.
    register(&step("1h")).is(201);
    served.ask("PUT", &format!("/runs/{run}/signals/go")).send().is(200);
    served.until_status(&run, "COMPLETED");

    let unknown = json!({"name": "top", "tasks": {"a": {"workflow": "midle"}}});
    let problem = served.ask("POST", "/runs").json(&json!({"workflow": unknown})).send().problem(422);
    assert_eq!(problem["problems"][0]["code"], "UK0136", "{problem}");
    assert_eq!(problem["problems"][0]["path"], "tasks.a.workflow");
    assert_eq!(problem["problems"][0]["help"], "did you mean `middle`?");

    // What is sent along comes before what is registered.
    let with =
        json!({"workflow": {"name": "own", "tasks": {"a": {"workflow": "middle"}}}, "calls": {"step": step("2ms")}});
    let own = served.ask("POST", "/runs?wait=20s").json(&with).send().is(201).json();
    assert_eq!(own["status"], "COMPLETED");
    for (calls, status) in [
        (json!({"step": step("2ms"), "other": {"name": "other", "tasks": {"a": {"sleep": "1ms"}}}}), 400),
        (json!({"step": {"name": "stp", "tasks": {"a": {"sleep": "1ms"}}}}), 400),
        (json!({"step": {"name": "step"}}), 422),
    ] {
        let wish = json!({"workflow": {"name": "own", "tasks": {"a": {"workflow": "middle"}}}, "calls": calls});
        served.ask("POST", "/runs").json(&wish).send().problem(status);
    }
}

/// A workflow that calls itself ends at a depth, and a run that is taken further calls what it called before.
#[test]
fn what_was_called_is_called_again_by_a_retry() {
    let served = Served::open();
    let step = |name: &str| json!({"name": name, "tasks": {"a": {"signal": "never", "timeout": "10ms"}}});
    let flow = json!({"name": "top", "tasks": {"a": {"workflow": "step"}}});
    let wish = json!({"workflow": flow, "calls": {"step": step("step")}});
    let failed = served.ask("POST", "/runs?wait=20s").json(&wish).send().is(201).json();
    assert_eq!(failed["status"], "FAILED");
    let path = format!("/runs/{}/retry", failed["run_id"].as_str().unwrap());
    let again = served.ask("POST", &path).json(&json!({})).send().is(201).json();
    served.until_status(again["run_id"].as_str().unwrap(), "FAILED");
    let tasks = served.get(&format!("/runs/{}/tasks", again["run_id"].as_str().unwrap()));
    assert_eq!(tasks["items"][0]["error"]["reason"], "child", "{tasks}");
}
