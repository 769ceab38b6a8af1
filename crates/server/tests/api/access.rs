//! Who may do what.

use crate::support::{SESSION, Served, Setup, sleeps};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::SocketAddr,
    os::unix::{fs::PermissionsExt, net::UnixStream},
};
use unknot_server::{Options, Scope, Server, StartError};

#[test]
fn without_a_token_only_what_is_open_answers() {
    let served = Served::closed();
    for path in ["/health", "/stats", "/metrics", "/runs/cancelled", "/openapi.json", "/docs", "/errors/UK0404"] {
        served.ask("GET", path).send().is(200);
    }
    for (method, path) in [
        ("GET", "/runs"),
        ("GET", "/queues"),
        ("GET", "/pools"),
        ("GET", "/workers"),
        ("GET", "/workflows"),
        ("GET", "/dead-letters"),
        ("GET", "/runs/run_x/events"),
        ("GET", "/tasks/x/log"),
        ("PUT", "/runs/run_x/cancel"),
        ("DELETE", "/runs/run_x/cancel"),
        ("PUT", "/queues/default/pause"),
    ] {
        let told = served.ask(method, path).send();
        assert_eq!(told.header("www-authenticate"), Some("Bearer"), "{method} {path}");
        let problem = told.problem(401);
        assert!(problem["detail"].as_str().unwrap().contains("admin.token"), "{problem}");
    }
    let told = served.ask("POST", "/runs").json(&json!({"workflow": sleeps("one", "1ms")})).send();
    told.problem(401);
}

#[test]
fn a_wrong_token_is_refused_even_where_none_is_needed() {
    for served in [Served::closed(), Served::open()] {
        served.ask("GET", "/runs").token("ukt_wrong").send().problem(401);
        served.ask("GET", "/health").token("ukt_wrong").send().problem(401);
        served.ask("GET", "/runs").header("Authorization", "Basic YWRtaW46YWRtaW4=").send().problem(401);
        served.ask("GET", "/runs").header("Authorization", "").send().problem(401);
    }
}

#[test]
fn each_scope_does_what_it_may_and_no_more() {
    let served = Served::closed();
    let [read, submit, operate, admin] =
        [Scope::Read, Scope::Submit, Scope::Operate, Scope::Admin].map(|scope| served.token(scope));
    let flow = json!({"workflow": sleeps("kept", "1h")});
    let named = json!({"workflow": "kept"});
    let post =
        |path: &str, body: &serde_json::Value, token: &str| served.ask("POST", path).json(body).token(token).send();

    let refused = post("/workflows", &flow, &submit).problem(403);
    assert_eq!(refused["detail"], "the token `t-Submit` has the scope `submit`, this needs `operate`");
    post("/workflows", &flow, &operate).is(201);
    post("/runs", &named, &read).problem(403);
    let inline = post("/runs", &flow, &submit).problem(403);
    assert!(inline["detail"].as_str().unwrap().contains("needs `operate`"), "{inline}");
    let run = post("/runs", &named, &submit).is(201).json()["run_id"].as_str().unwrap().to_owned();
    served.ask("GET", &format!("/runs/{run}")).token(&read).send().is(200);

    let cancel = format!("/runs/{run}/cancel");
    served.ask("PUT", &cancel).token(&submit).send().problem(403);
    let force = served.ask("PUT", &cancel).json(&json!({"force": true})).token(&operate).send().problem(403);
    assert_eq!(force["detail"], "`force` needs the scope `admin`");
    served.ask("DELETE", &cancel).token(&operate).send().problem(403);
    served.ask("PUT", &cancel).token(&operate).send().is(200);
    assert_eq!(served.ask("GET", &cancel).send().is(200).json()["cancelled_by"], "t-Operate");
    served.ask("DELETE", &cancel).token(&admin).send().is(204);
    for path in ["/runs/bulk", "/runs/run_x/retry", "/dead-letters/x/redrive"] {
        post(path, &json!({}), &submit).problem(403);
    }
}

#[test]
fn the_first_token_and_the_socket_are_for_their_owner_alone() {
    let served = Served::closed();
    for name in ["admin.token", "tokens.json", "api.sock"] {
        let mode = served.data().join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    let token = std::fs::read_to_string(served.data().join("admin.token")).unwrap();
    served.ask("GET", "/runs").token(token.trim()).send().is(200);
    assert!(served.server().is_first_start());
    let hashes = std::fs::read_to_string(served.data().join("tokens.json")).unwrap();
    assert!(!hashes.contains(token.trim()), "only the hash is kept");
}

#[test]
fn over_the_local_socket_no_token_is_needed() {
    let served = Served::closed();
    let mut stream = UnixStream::connect(Server::socket(served.data())).unwrap();
    stream.write_all(b"GET /runs HTTP/1.1\r\nHost: unknot\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn nobody_is_let_in_openly_from_elsewhere() {
    let served = Served::closed();
    for wanted in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let listen: SocketAddr = wanted.parse().unwrap();
        let options =
            Options { listen, insecure_loopback: true, changeable: Setup::default().changeable, session_term: SESSION };
        match Server::start(served.engine().clone(), options) {
            Err(StartError::Insecure(address)) => assert_eq!(address, listen),
            Err(other) => panic!("{wanted}: {other}"),
            Ok(_) => panic!("{wanted}: it listens"),
        }
    }
}

#[test]
fn a_token_that_is_taken_away_lets_nobody_in_any_more() {
    let served = Served::closed();
    let token = served.token(Scope::Read);
    served.ask("GET", "/runs").token(&token).send().is(200);
    let (tokens, _) = unknot_server::Tokens::open(served.data()).unwrap();
    assert!(tokens.remove("t-Read").unwrap());
    served.ask("GET", "/runs").token(&token).send().problem(401);
}

#[test]
fn other_namespaces_are_not_served() {
    let served = Served::open();
    served.ask("GET", "/runs").header("Unknot-Namespace", "default").send().is(200);
    served.ask("GET", "/runs").header("Unknot-Namespace", "other").send().problem(404);
    served.ask("GET", "/runs").header("Unknot-Namespace", "No Such!").send().problem(400);
    let asked = served.ask("POST", "/runs").header("Unknot-Namespace", "other");
    asked.json(&json!({"workflow": sleeps("one", "1ms")})).send().problem(404);
    let run = served.submit(sleeps("one", "1h"));
    for path in ["/metrics", "/health"] {
        served.ask("GET", path).header("Unknot-Namespace", "default").send().is(200);
    }
    let cancel = served.ask("PUT", &format!("/runs/{run}/cancel")).header("Unknot-Namespace", "other");
    cancel.send().problem(404);
}
