//! What a page of another site can make a browser do: nothing.

use crate::support::{Served, Setup, sleeps};
use serde_json::json;
use unknot_server::Changeable;

#[test]
fn only_known_names_are_answered_to() {
    let hosts = vec!["unknot.example".to_owned()];
    let base = Setup::default();
    let changeable = Changeable { hosts, ..base.changeable.clone() };
    let served = Served::with(Setup { changeable, ..base });
    let port = served.address.port();
    let ask = |host: &str| served.ask("GET", "/health").without("Host").header("Host", host).send();
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "unknot.example"] {
        ask(host).is(200);
        ask(&format!("{host}:{port}")).is(200);
    }
    for host in ["evil.example", "localhost.evil.example", "unknot.example.evil.example", "", "a b", "user@localhost"] {
        let told = ask(host);
        assert!(matches!(told.status, 400 | 421), "`{host}`: {}", told.status);
    }
    let problem = ask("evil.example:80").problem(421);
    assert!(problem["detail"].as_str().unwrap().contains("server.hosts"), "{problem}");
}

#[test]
fn a_request_has_one_host() {
    let served = Served::open();
    served.ask("GET", "/health").without("Host").send().problem(400);
    served.ask("GET", "/health").header("Host", "localhost").send().problem(400);
    let absolute = format!("http://{}/health", served.address);
    served.ask("GET", &absolute).send().is(200);
    served.ask("GET", "http://evil.example/health").send().problem(400);
    served.ask("GET", "http://evil.example/health").without("Host").header("Host", "evil.example").send().problem(421);
}

#[test]
fn other_origins_can_do_nothing() {
    let served = Served::open();
    let own = format!("http://{}", served.address);
    let run = served.submit(sleeps("one", "1h"));
    let cancel = format!("/runs/{run}/cancel");
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "file://", "http://localhost", ""] {
        for (method, path) in [("GET", "/runs"), ("PUT", cancel.as_str()), ("DELETE", cancel.as_str())] {
            served.ask(method, path).header("Origin", origin).send().problem(403);
        }
    }
    let preflight = served.ask("OPTIONS", &cancel).header("Origin", "http://evil.example");
    let told = preflight.header("Access-Control-Request-Method", "PUT").send();
    assert_eq!(told.status, 403);
    assert!(!told.headers.iter().any(|(name, _)| name.starts_with("access-control-")), "{:?}", told.headers);
    assert_eq!(served.get(&cancel)["is_cancelled"], false);
    served.ask("PUT", &cancel).header("Origin", &own).send().is(200);
}

#[test]
fn forms_are_no_requests() {
    let served = Served::open();
    let body = json!({"workflow": sleeps("one", "1ms")}).to_string();
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"]
    {
        served.ask("POST", "/runs").header("Content-Type", kind).body(body.clone()).send().problem(415);
    }
    served.ask("POST", "/runs").body(body.clone()).send().problem(415);
    let good = served.ask("POST", "/runs").header("Content-Type", "Application/JSON; charset=utf-8");
    good.body(body).send().is(201);
    assert_eq!(served.all("/runs", 10).len(), 1);
}

#[test]
fn the_one_time_link_lets_one_browser_in_once() {
    let served = Served::closed();
    let link = served.server().login_link().unwrap();
    let path = link.strip_prefix(&format!("http://{}", served.address)).unwrap();
    served.ask("GET", "/login?code=wrong").send().problem(403);
    served.ask("GET", "/login").send().problem(400);
    let told = served.ask("GET", path).send().is(303);
    let cookie = told.header("set-cookie").unwrap().to_owned();
    for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    served.ask("GET", path).send().problem(403);
    let session = cookie.split(';').next().unwrap();
    served.ask("GET", "/runs").header("Cookie", session).send().is(200);
    served.ask("GET", "/runs").header("Cookie", &format!("a=b; {session}; c=d")).send().is(200);
    served.ask("GET", "/runs").header("Cookie", "unknot_session=ukt_wrong").send().problem(401);
    // Another server on this host is sent the cookie too: with it one may look, and no more.
    let body = json!({"workflow": sleeps("one", "1ms")});
    served.ask("POST", "/runs").header("Cookie", session).json(&body).send().problem(403);
    // A wrong token beside a good cookie stays wrong.
    served.ask("GET", "/runs").header("Cookie", session).token("wrong").send().problem(401);
    served.ask("GET", "/runs").header("Cookie", session).header("Origin", "http://evil.example").send().problem(403);
}

#[test]
fn no_answer_may_be_shown_as_something_else() {
    let served = Served::open();
    for path in ["/docs", "/health", "/runs", "/nothing", "/metrics", "/errors/UK0404"] {
        let told = served.ask("GET", path).send();
        assert_eq!(told.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(told.header("x-frame-options"), Some("DENY"), "{path}");
    }
}
