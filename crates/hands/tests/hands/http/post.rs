//! What the program sends by itself: every part has its clock, and no word of it names more than the host.

use super::*;
use unknot_hands::{Post, PostClocks, PostError, post};

/// A moment; 60 s before the date in one of the scripts.
const NOW_MS: u64 = 784_111_717_000;

fn message(server: &Server) -> Post {
    Post {
        url: format!("http://127.0.0.1:{}/services/hidden?key=hidden", server.port),
        headers: vec![("x-unknot-signature", "t=1,v1=00".to_owned())],
        idempotency_key: "alert_1-raised".to_owned(),
        body: br#"{"text":"hello"}"#.to_vec(),
    }
}

fn clocks() -> PostClocks {
    let long = Duration::from_secs(60);
    PostClocks { connect: long, answer: long, whole: long }
}

#[tokio::test]
async fn what_is_sent_is_json_and_the_answer_says_what_follows() {
    for (script, status, next_try, body) in [
        (&[Hear, Say("HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok")][..], 202, NextTry::Useless, "ok"),
        (
            &[Hear, Say("HTTP/1.1 404 Not Found\r\ncontent-length: 10\r\n\r\nno_service")],
            404,
            NextTry::Useless,
            "no_service",
        ),
        (&[Hear, Say("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n")], 500, NextTry::AsUsual, ""),
        (
            &[Hear, Say("HTTP/1.1 429 Slower\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n")],
            429,
            NextTry::NotBefore(30_000),
            "",
        ),
        (
            &[
                Hear,
                Say("HTTP/1.1 503 Later\r\nretry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 0\r\n\r\n"),
            ],
            503,
            NextTry::NotBefore(60_000),
            "",
        ),
        (&[Hear, Say("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:PORT/\r\n\r\n")], 302, NextTry::Useless, ""),
    ] {
        let server = Server::new(Box::leak(Box::new([script]))).await;
        let posted = post(&message(&server), clocks(), NOW_MS).await.unwrap();
        let found = (posted.status, posted.is_success, posted.next_try, posted.body.as_str());
        assert_eq!(found, (status, status == 202, next_try, body));
        let requests = server.requests();
        let [request] = requests.as_slice() else { panic!("a redirect is followed: {requests:?}") };
        assert!(request.starts_with("POST /services/hidden?key=hidden HTTP/1.1\r\n"), "{request}");
        for line in
            ["content-type: application/json", "idempotency-key: alert_1-raised", "x-unknot-signature: t=1,v1=00"]
        {
            assert!(request.contains(&format!("{line}\r\n")), "{line}: {request}");
        }
        assert!(request.ends_with("\r\n\r\n{\"text\":\"hello\"}"), "{request}");
    }
}

#[tokio::test]
async fn every_part_has_its_clock() {
    let short = Duration::from_millis(SHORT_MS);
    for (script, clocks) in [
        (&[Hear, Hang][..], PostClocks { answer: short, ..clocks() }),
        (&[Hear, Drip("HTTP/1.1 200 OK\r\nx: y\r\n")], PostClocks { whole: short, ..clocks() }),
        (&[Hear, Say("HTTP/1.1 200 OK\r\n"), Hang], PostClocks { whole: short, ..clocks() }),
    ] {
        let server = Server::new(Box::leak(Box::new([script]))).await;
        assert_eq!(post(&message(&server), clocks, NOW_MS).await, Err(PostError::Timeout), "{clocks:?}");
    }
    assert_eq!(PostError::Timeout.to_string(), "timeout");
}

#[tokio::test]
async fn a_body_that_does_not_come_changes_nothing_about_its_status() {
    for script in [
        &[Hear, Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"), Hang][..],
        &[Hear, Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"), Reset],
        &[Hear, Say("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"), Flood(1_000_000)],
    ] {
        let server = Server::new(Box::leak(Box::new([script]))).await;
        let posted = post(&message(&server), clocks(), NOW_MS).await.unwrap();
        assert!(posted.is_success && posted.body.len() <= 2048, "{posted:?}");
    }
}

#[tokio::test]
async fn failures_name_the_host_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing = listener.local_addr().unwrap().port();
    drop(listener);
    let reset = Server::new(&[&[Hear, Reset]]).await;
    for (url, says) in [
        (format!("http://127.0.0.1:{refusing}/services/hidden"), "refused"),
        (format!("http://127.0.0.1:{}/services/hidden", reset.port), "no answer"),
        ("http://127.0.0.1:1/a hidden".to_owned(), "cannot be read"),
        ("http://nowhere.invalid/services/hidden?key=hidden".to_owned(), "nowhere.invalid"),
    ] {
        let error = post(&Post { url, ..message(&reset) }, clocks(), NOW_MS).await.unwrap_err();
        let PostError::Failed { message, .. } = &error else { panic!("{error:?}") };
        assert!(message.contains(says) && !message.contains("hidden"), "{message}");
    }
}
