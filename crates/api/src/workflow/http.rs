//! The `http` of a task: a request, its clocks, and what of its answer counts.

use crate::{
    document::{Node, Value},
    report::{Code, Diagnostic},
    shape::{Definitions, Duration, Fields, Reader, Record, Shape, Size, Table, Text, clip, read_word, word_schema},
    work::{HttpOutput, StatusRange},
};
use serde_json::json;

/// A request, as it stands in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpFile {
    /// Where to; a template.
    pub url: String,
    /// Its method; none is GET, or POST if there is a body.
    pub method: Option<MethodFile>,
    /// Headers; values are templates.
    pub headers: Vec<(String, Text)>,
    /// What is sent: a value whose texts are templates.
    pub body: Option<serde_json::Value>,
    /// The clocks of its phases.
    pub timeouts: Option<HttpTimeoutsFile>,
    /// The longest body of an answer.
    pub max_body: Option<Size>,
    /// How many redirects are followed.
    pub redirects: Option<u32>,
    /// The statuses that count as success.
    pub expect: Option<Vec<StatusRange>>,
    /// What becomes the task's output.
    pub output: Option<HttpOutput>,
}

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodFile(pub &'static str);

/// The clocks of a request's phases.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpTimeoutsFile {
    /// Until there is a connection.
    pub connect: Option<Duration>,
    /// Until all headers are there.
    pub headers: Option<Duration>,
    /// Until the body begins.
    pub first_byte: Option<Duration>,
    /// Between two parts of the body.
    pub gap: Option<Duration>,
}

impl Record for HttpFile {
    const NAME: &'static str = "Http";
    const WHAT: &'static str = "`http`";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        Self {
            url: fields.required(&["url"], "Where to, `http://…` or `https://…`, a template.").unwrap_or_default(),
            method: fields.optional("method", "Its method (default GET, or POST if there is a body)."),
            headers: fields.optional("headers", "Headers; values are templates. Cookies, keys and what has `auth`, `key`, `token` or `secret` in its name do not follow a redirect to another server.").map(|Table(list)| list).unwrap_or_default(),
            body: fields.optional("body", "What is sent. Text is a template and sent as text, anything else as JSON, its texts being templates; one that is exactly one `{{ … }}` keeps its JSON type."),
            timeouts: fields.optional("timeouts", "The clocks of its phases; `timeout` of the task bounds them all."),
            max_body: fields.optional("max_body", "The longest body of an answer that is taken (default 16MiB); from 64KiB on it is a file among the artifacts."),
            redirects: fields.optional("redirects", "How many redirects are followed, at most 20 (default 5); with 0 they are answers like others."),
            expect: fields.optional("expect", "The statuses that count as success: numbers, or classes such as `2xx` (the default)."),
            output: fields.optional("output", "What becomes the output: `body`, the answer's body if it is a JSON object (the default), or `response`, always an object with `status`, `headers` and `body`."),
        }
    }
}

impl Record for HttpTimeoutsFile {
    const NAME: &'static str = "HttpTimeouts";
    const WHAT: &'static str = "`timeouts`";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        Self {
            connect: fields.optional("connect", "Until there is a connection: name, TCP and TLS (default 10s)."),
            headers: fields.optional("headers", "From there until all headers of the answer are there (default 60s)."),
            first_byte: fields.optional("first_byte", "From the headers to the first byte of the body (default 30s)."),
            gap: fields.optional("gap", "From each part of the body to the next (default 30s)."),
        }
    }
}

impl Shape for MethodFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        read_word(&Self::WORDS, node, reader)
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        word_schema(&Self::WORDS)
    }
}

impl MethodFile {
    const WORDS: [(&'static str, Self); 7] = [
        ("GET", Self("GET")),
        ("HEAD", Self("HEAD")),
        ("POST", Self("POST")),
        ("PUT", Self("PUT")),
        ("PATCH", Self("PATCH")),
        ("DELETE", Self("DELETE")),
        ("OPTIONS", Self("OPTIONS")),
    ];
}

impl Shape for HttpOutput {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        read_word(&[("body", Self::Body), ("response", Self::Response)], node, reader)
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"enum": ["body", "response"]})
    }
}

impl Shape for StatusRange {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let text = match &node.value {
            Value::Scalar(scalar) => &*scalar.text,
            _ => "",
        };
        let first: Option<u16> = match text.strip_suffix("xx") {
            Some(class) => class.parse().ok().filter(|class| (1..=5).contains(class)).map(|class: u16| class * 100),
            None => text.parse().ok().filter(|status| (100..=599).contains(status)),
        };
        let length = if text.ends_with("xx") { 99 } else { 0 };
        if first.is_none() {
            reader.tell(node.span, || {
                Diagnostic::new(Code::WrongType, format!("`{}` is no status", clip(text)))
                    .expected("a status such as `404`, or a class such as `2xx`")
            });
        }
        first.map(|first| Self { first, last: first + length })
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"anyOf": [{"type": "integer", "minimum": 100, "maximum": 599}, {"type": "string", "pattern": "^[1-5]xx$"}]})
    }
}
