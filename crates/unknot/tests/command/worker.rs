//! Workers of other processes: what they do is told once, whatever becomes of them and of the server.

use super::support::{Bench, Running, marker, until, wait_for_file, wait_until_gone};
use rustix::process::Signal;
use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Short terms, so that what waits for their end need not wait long; the server works for nobody itself.
const CONFIG: &str = "worker: {slots: 0}\nworkers: {session: 3s}\nqueues: {default: {visibility_timeout: 3s}}\n";
/// Longer than all terms together.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with its address, at which it can be started again.
fn serve(bench: &Bench, listen: &str) -> (Running, String) {
    let mut running = bench.start(&["serve", "--listen", listen]);
    let line = running.line("listen  http://");
    let address = line.split_whitespace().nth(1).unwrap().to_owned();
    (running, address)
}

/// A worker of that server, known by the admin's token.
fn work(bench: &Bench, address: &str, name: &str) -> Running {
    let token = ".unknot/admin.token";
    let arguments = ["worker", "--server", address, "--token-file", token, "--name", name, "--slots", "1"];
    let mut running = bench.start(&arguments);
    running.line("ready");
    running
}

/// What a server answers to a question of its admin: the status, and the body.
fn get(bench: &Bench, address: &str, path: &str) -> (u16, String) {
    let host = address.trim_start_matches("http://");
    let token = bench.read(".unknot/admin.token");
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The artifacts of the first task of the newest run.
fn artifacts(bench: &Bench, address: &str) -> String {
    let first = |path: &str| {
        let list: serde_json::Value = serde_json::from_str(&get(bench, address, path).1).unwrap();
        list["items"][0].clone()
    };
    let run = first("/runs")["run_id"].as_str().unwrap().to_owned();
    let task = first(&format!("/runs/{run}/tasks"));
    format!("/tasks/{}/artifacts", task["task_id"].as_str().unwrap())
}

/// How many folders of attempts a worker has.
fn folders(bench: &Bench, name: &str) -> usize {
    let attempts = bench.path(&format!(".unknot/worker-{name}/attempts"));
    fs::read_dir(attempts).map(Iterator::count).unwrap_or_default()
}

fn lines(bench: &Bench, name: &str) -> usize {
    bench.read(name).lines().count()
}

/// A task that says that it began, and waits for the file `go` to say that it is done.
fn waiting(marker: &str) -> Bench {
    let wait = format!(
        "echo $UNKNOT_TRY >> began; while ! test -e go; do sleep 0.01{marker}; done; echo x >> done; echo went"
    );
    let bench = Bench::with(&format!("name: waits\ntasks:\n  a: {{exec: '{wait}'}}\n"));
    bench.write("unknot.yaml", CONFIG);
    bench
}

#[test]
fn a_run_is_done_by_a_remote_worker_and_its_log_is_here() {
    let flow = "name: far\ntasks:\n  a: {exec: 'echo hello from $UNKNOT_URL; test -n \"$UNKNOT_ATTEMPT_TOKEN\"; echo 7 > \"$UNKNOT_OUTPUT\"'}\n  b: {needs: [a], exec: [echo, \"{{ tasks.a.output }}\", again], queue: other}\n";
    let bench = Bench::with(flow);
    bench.write("unknot.yaml", CONFIG);
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    let worker = work(&bench, &address, "far-1");
    bench.run(&["submit", "flow.yaml", "--wait"]).code(0).says("COMPLETED");
    bench.run(&["logs", "latest", "a"]).code(0).says(&format!("hello from {address}"));
    bench.run(&["logs", "latest", "b"]).code(0).says("7 again");
    bench.run(&["events", "latest"]).code(0).says("far-1");
    worker.signal(Signal::TERM);
    let (code, printed) = worker.end();
    assert_eq!(code, Some(0), "{printed}");
    let workers = bench.run(&["workers", "--json"]).code(0).stdout;
    assert!(!workers.contains("far-1"), "it took leave: {workers}");
}

/// Calls go to the worker that has the handler, with their input as a file; a workflow's own commands do not.
#[test]
fn a_worker_runs_its_handlers_and_nothing_that_a_workflow_brings() {
    let flow = "name: far\ninput: {n: {type: integer}}\ntasks:\n  a: {worker: double, input: {n: \"{{ input.n }}\"}}\n  b: {exec: 'touch ran'}\n";
    let bench = Bench::with(flow);
    bench.write("unknot.yaml", CONFIG);
    bench.write(
        "double.sh",
        r#"n=$(tr -dc 0-9 < "$UNKNOT_INPUT"); cp "$UNKNOT_INPUT" input; echo "{\"n\": $((n * 2))}""#,
    );
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    bench.run(&["submit", "flow.yaml", "-i", "n=21"]).code(0);
    let token = ".unknot/admin.token";
    let mut worker = bench.start(&[
        "worker",
        "--server",
        &address,
        "--token-file",
        token,
        "--name",
        "h",
        "--handlers-only",
        "--handler",
        "double=sh double.sh",
    ]);
    worker.line("ready");
    until("the call is done", PATIENCE, || bench.run(&["events", "latest"]).stdout.contains("TASK_COMPLETED"));
    assert_eq!(bench.read("input"), r#"{"n":21}"#);
    // Not merely not yet: nobody here takes it.
    bench.run(&["show", "latest"]).says("b     QUEUED").says("waits for a worker: none that is here takes");
    assert!(!bench.path("ran").exists());
}

/// What a store has of its attempts is not taken for leftovers, whether or not its server is up.
#[test]
fn a_worker_is_not_let_into_a_store_and_leaves_alone_what_is_not_its_own() {
    let bench = Bench::with("name: near\ntasks:\n  a: {exec: 'echo here'}\n");
    bench.run(&["run", "flow.yaml"]).code(0);
    bench.write("token", "unk_0");
    let arguments = ["worker", "--server", "http://127.0.0.1:1", "--token-file", "token", "--folder"];
    bench.run(&[&arguments[..], &[".unknot"]].concat()).code(5).says("UK0309").says("is the data folder of a store");
    bench.run(&["logs", "latest", "a"]).code(0).says("here");
}

#[test]
fn a_handler_that_no_task_can_call_is_refused() {
    let bench = Bench::with("name: none\ntasks: {}\n");
    let arguments = ["worker", "--server", "http://127.0.0.1:1", "--handler", "Resize=true"];
    bench.run(&arguments).code(2).says("expected `NAME=LINE`, the name a small letter");
}

#[test]
fn what_an_attempt_left_is_at_the_server_and_no_more_at_the_worker() {
    let leave = "cd $UNKNOT_ARTIFACTS; mkdir -p deep/er; head -c 3000000 /dev/zero | tr '\\0' x > deep/er/large; \
                 echo page > 'a page.html'; touch empty; ln -s /etc/passwd link; mkfifo pipe; truncate -s 2G huge; echo '{\"n\": 7}'";
    let flow = serde_json::json!({"name": "leaves", "tasks": {
        "a": {"exec": leave}, "b": {"needs": ["a"], "exec": ["echo", "n is {{ tasks.a.output.n }}"]}}});
    let bench = Bench::with(&flow.to_string());
    bench.write("unknot.yaml", CONFIG);
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    let worker = work(&bench, &address, "far");
    bench.run(&["submit", "flow.yaml", "--wait"]).code(0).says("COMPLETED").says("3 artifacts did not arrive (`");
    bench.run(&["logs", "latest", "b"]).code(0).says("n is 7");
    let path = artifacts(&bench, &address);
    let (status, listed) = get(&bench, &address, &path);
    let files =
        r#"[{"path":"a page.html","bytes":5},{"path":"deep/er/large","bytes":3000000},{"path":"empty","bytes":0}]"#;
    assert_eq!((status, listed.as_str()), (200, files));
    assert_eq!(get(&bench, &address, &format!("{path}/a%20page.html")), (200, "page\n".to_owned()));
    let (_, large) = get(&bench, &address, &format!("{path}/deep/er/large"));
    assert!(large.len() == 3_000_000 && large.bytes().all(|byte| byte == b'x'));
    // What is no file is not followed, what is too large is not sent, and that is told.
    assert_eq!(get(&bench, &address, &format!("{path}/link")).0, 404);
    let events = bench.run(&["events", "latest", "--json"]).code(0).stdout;
    assert!(events.contains(r#""artifacts_lost":{"count":3"#), "{events}");
    assert!(["huge", "link", "pipe"].iter().all(|name| events.contains(&format!("\"{name}\""))), "{events}");
    until("the attempts' folders are gone", PATIENCE, || folders(&bench, "far") == 0);
    worker.signal(Signal::TERM);
    assert_eq!(worker.end().0, Some(0));
}

/// A way to a server on which connections that carry artifacts break in the middle, so often.
fn bad_line(server: &str, breaks: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (server, left) = (server.trim_start_matches("http://").to_owned(), Arc::new(AtomicUsize::new(breaks)));
    let breaks_left = Arc::clone(&left);
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let (server, left) = (server.clone(), Arc::clone(&breaks_left));
            thread::spawn(move || carry(near, &server, &left));
        }
    });
    (address, left)
}

/// Carries one connection to its end, or half of what it sends.
fn carry(mut near: TcpStream, server: &str, breaks_left: &AtomicUsize) {
    const HALF: u64 = 200_000;
    let Ok(mut far) = TcpStream::connect(server) else { return };
    let mut head = vec![0; 4_096];
    let Ok(length) = near.read(&mut head) else { return };
    let text = String::from_utf8_lossy(&head[..length]).into_owned();
    let one_less = |left: usize| left.checked_sub(1);
    let is_artifact = text.starts_with("PUT /attempts/") && text.contains("/artifacts/");
    let breaks = is_artifact && breaks_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
    far.write_all(&head[..length]).unwrap();
    if breaks {
        // Whoever sends may be done with it already.
        io::copy(&mut (&near).take(HALF), &mut far).unwrap_or_default();
        return;
    }
    let (mut back, mut answer) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    // Either side may go away first.
    let answers = thread::spawn(move || io::copy(&mut answer, &mut back).and_then(|_| back.shutdown(Shutdown::Write)));
    io::copy(&mut near, &mut far).and_then(|_| far.shutdown(Shutdown::Write)).unwrap_or_default();
    answers.join().unwrap().unwrap_or_default();
}

#[test]
fn an_upload_goes_on_where_its_connection_broke() {
    let leave = "seq 1 300000 > $UNKNOT_ARTIFACTS/numbers";
    let bench = Bench::with(&format!("name: long\ntasks:\n  a: {{exec: '{leave}'}}\n"));
    bench.write("unknot.yaml", "worker: {slots: 0}\n");
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    let (line, breaks_left) = bad_line(&address, 3);
    let _worker = work(&bench, &line, "far");
    bench.run(&["submit", "flow.yaml", "--wait"]).code(0).says("COMPLETED");
    assert_eq!(breaks_left.load(Ordering::SeqCst), 0);
    let path = artifacts(&bench, &address);
    let (_, numbers) = get(&bench, &address, &format!("{path}/numbers"));
    assert!(numbers.lines().eq((1..=300_000).map(|number| number.to_string())), "{} bytes", numbers.len());
    let events = bench.run(&["events", "latest", "--json"]).code(0).stdout;
    assert!(!events.contains("artifacts_lost"), "{events}");
}

#[test]
fn an_upload_goes_on_when_the_server_is_there_again() {
    let marker = marker();
    let wait =
        format!("touch began; while ! test -e go; do sleep 0.01{marker}; done; echo page > $UNKNOT_ARTIFACTS/page");
    let bench = Bench::with(&format!("name: waits\ntasks:\n  a: {{exec: '{wait}'}}\n"));
    bench.write("unknot.yaml", "worker: {slots: 0}\n");
    let (server, address) = serve(&bench, "127.0.0.1:0");
    let _worker = work(&bench, &address, "far");
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("began"));
    server.signal(Signal::KILL);
    server.end();
    bench.write("go", "");
    wait_until_gone(&marker);
    let (_server, address) = serve(&bench, address.trim_start_matches("http://"));
    bench.run(&["events", "latest", "-f"]).code(0).says("RUN_COMPLETED");
    let path = artifacts(&bench, &address);
    assert_eq!(get(&bench, &address, &format!("{path}/page")), (200, "page\n".to_owned()));
}

#[test]
fn what_a_killed_worker_left_is_removed_by_the_next_of_its_name() {
    let marker = marker();
    let bench = waiting(&marker);
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    let first = work(&bench, &address, "w");
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("began"));
    first.signal(Signal::KILL);
    first.end();
    assert_eq!(folders(&bench, "w"), 1);
    let arguments = ["worker", "--server", &address, "--token-file", ".unknot/admin.token", "--name", "w"];
    let mut second = bench.start(&arguments);
    second.line("cleared the folders of 1 attempts");
    assert!(!super::support::exists_process_with(&marker), "not before it is dead");
    bench.write("go", "");
    bench.run(&["events", "latest", "-f"]).code(0).says("RUN_COMPLETED");
}

#[test]
fn workers_are_listed_with_what_they_take_in_80_columns() {
    let bench = Bench::new();
    bench.write("unknot.yaml", "worker: {slots: 2}\n");
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    let token = ["--token-file", ".unknot/admin.token"];
    let name = "a-worker-with-quite-a-long-name";
    let labels = ["--label", "zone=b", "--label", "gpu=none-but-it-has-much-memory"];
    let queues = ["--queue", "slow", "--queue", "rendering-of-large-maps"];
    let arguments = [&["worker", "--server", &address, "--name", name][..], &token, &labels, &queues].concat();
    let mut far = bench.start(&arguments);
    far.line("ready");
    let listed = bench.run(&["workers"]).code(0).stdout;
    let words: Vec<&str> = listed.split_whitespace().collect();
    let heading = ["WORKER", "AT", "WORK", "SLOTS", "QUEUES", "KINDS", "LABELS"];
    assert_eq!(words[..heading.len()], heading, "{listed}");
    assert!(listed.contains("zone=b") && listed.contains("local") && listed.contains("all"), "{listed}");
    assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");
    let json = bench.run(&["workers", "--json"]).code(0).stdout;
    assert!(json.contains(r#""queues":["rendering-of-large-maps","slow"]"#), "{json}");
    assert!(json.contains(r#""labels":{"gpu":"none-but-it-has-much-memory","zone":"b"}"#), "{json}");
}

#[test]
fn a_worker_that_is_killed_loses_its_lease_and_the_task_is_done_once_more() {
    let marker = marker();
    let bench = waiting(&marker);
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    let first = work(&bench, &address, "w1");
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("began"));
    first.signal(Signal::KILL);
    assert_eq!(first.end().0, None);
    wait_until_gone(&marker);
    let _second = work(&bench, &address, "w2");
    until("the second has begun", PATIENCE, || lines(&bench, "began") == 2);
    bench.write("go", "");
    bench.run(&["events", "latest", "-f"]).code(0).says("TASK_LOST").says("RUN_COMPLETED");
    assert_eq!(lines(&bench, "done"), 1);
}

#[test]
fn a_worker_that_stands_still_is_fenced_and_its_late_result_is_refused() {
    let marker = marker();
    let bench = waiting(&marker);
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    let first = work(&bench, &address, "w1");
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("began"));
    first.signal(Signal::STOP);
    // Its guard ends what it had, before anybody else has it.
    until("the first is gone", PATIENCE, || {
        !super::support::exists_process_with(&marker) || lines(&bench, "began") == 2
    });
    assert_eq!(lines(&bench, "began"), 1, "the lease was still its own");
    let _second = work(&bench, &address, "w2");
    until("the second has begun", PATIENCE, || lines(&bench, "began") == 2);
    bench.write("go", "");
    bench.run(&["events", "latest", "-f"]).code(0).says("RUN_COMPLETED");
    first.signal(Signal::CONT);
    let token = ["--server", &address, "--token-file", ".unknot/admin.token"];
    let refused = || {
        let stats = bench.run(&[&["top", "--json"], &token[..]].concat()).stdout;
        let stats: serde_json::Value = serde_json::from_str(&stats).unwrap_or_default();
        stats["stats"]["refused_reports"].as_u64().or(stats["refused_reports"].as_u64()).unwrap_or_default()
    };
    until("its late report is refused and counted", PATIENCE, || refused() > 0);
    assert_eq!((lines(&bench, "began"), lines(&bench, "done")), (2, 1), "once more exactly");
    drop(first);
}

#[test]
fn an_attempt_survives_a_restart_of_the_server() {
    let marker = marker();
    let bench = waiting(&marker);
    let (server, address) = serve(&bench, "127.0.0.1:0");
    let mut worker = work(&bench, &address, "w1");
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("began"));
    server.signal(Signal::KILL);
    assert_eq!(server.end().0, None);
    let (_server, again) = serve(&bench, address.trim_start_matches("http://"));
    assert_eq!(again, address);
    worker.line("ready   again");
    bench.write("go", "");
    bench.run(&["events", "latest", "-f"]).code(0).says("RUN_COMPLETED");
    assert_eq!((lines(&bench, "began"), lines(&bench, "done")), (1, 1), "the same attempt");
    bench.run(&["logs", "latest", "a"]).code(0).says("went");
}

#[test]
fn a_worker_whose_name_is_taken_ends_and_says_why() {
    let bench = waiting(&marker());
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    let first = work(&bench, &address, "w");
    let _second = work(&bench, &address, "w");
    let (code, _) = first.end();
    assert_eq!(code, Some(5));
    bench.run(&["worker", "--server", &address, "--token", "x", "--name", "v"]).code(5).says("error[UK0336]");
    fs::metadata(bench.path(".unknot/worker-w")).unwrap();
}
