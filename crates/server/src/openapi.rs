//! The OpenAPI document, made from the table of operations, and a page that shows it.

use crate::{
    app::App,
    auth::word,
    operation::{Access, Operation, get},
    routes,
};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use std::{
    fmt::Write as _,
    sync::{Arc, LazyLock},
};

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
static WITHOUT_TOKENS: LazyLock<Value> = LazyLock::new(|| without_tokens(&DOCUMENT));
static PAGE: LazyLock<String> = LazyLock::new(|| page(&DOCUMENT));

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        get("/openapi.json", send)
            .open(Access::Open)
            .is("getOpenApi", "This document")
            .gives::<Map<String, Value>>(200, "OpenAPI 3.1."),
        get("/docs", show).open(Access::Open).is("getDocs", "This document as a page").gives_as::<String>(
            200,
            "The page.",
            "text/html; charset=utf-8",
        ),
    ]
}

async fn send(State(app): State<Arc<App>>) -> Response {
    let document = if app.insecure_loopback { &WITHOUT_TOKENS } else { &DOCUMENT };
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}

/// The document of a server that asks nobody on its machine for a token: one may be sent, none is needed.
fn without_tokens(document: &Value) -> Value {
    let mut document = document.clone();
    document["security"] = may_have_token();
    for operation in
        document["paths"].as_object_mut().into_iter().flatten().flat_map(|(_, methods)| methods.as_object_mut())
    {
        for (_, operation) in operation.iter_mut().filter(|(_, operation)| operation["security"] != json!([])) {
            operation["security"] = may_have_token();
        }
    }
    document
}

fn may_have_token() -> Value {
    json!([{"token": []}, {}])
}

async fn show() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ];
    (headers, PAGE.clone()).into_response()
}

/// The whole document.
pub fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let problem = generator.subschema_for::<unknot_api::rest::Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for operation in routes::operations().iter().chain(&operations()) {
        let path = operation.path.replace("{*", "{");
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[operation.method.as_str().to_ascii_lowercase()] = describe(operation, &problem, &mut generator);
    }
    let mut schemas = generator.take_definitions(true);
    // Structures of queries are told parameter by parameter.
    for name in routes::operations().iter().filter_map(|operation| Some(name_of(&operation.query?(&mut generator)))) {
        schemas.remove(&name);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Unknot",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "An orchestrator for work that must not freeze: every wait is named, bounded and visible.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer",
                "description": "A token. The first one is in `admin.token` in the data folder.",
            }},
        },
    })
}

fn describe(operation: &Operation, problem: &schemars::Schema, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for reply in &operation.replies {
        let mut told = json!({"description": reply.says});
        if let Some((kind, schema)) = &reply.content {
            told["content"] = json!({*kind: {"schema": schema(generator)}});
        }
        responses.insert(reply.status.to_string(), told);
    }
    let wrong = json!({
        "description": "Why it was not done.",
        "content": {"application/problem+json": {"schema": problem}},
    });
    responses.insert("default".to_owned(), wrong);
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "description": explain(operation),
        "parameters": parameters(operation, generator),
        "responses": responses,
    });
    if let Some(body) = &operation.body {
        let schema = (body.schema)(generator);
        described["requestBody"] = json!({"required": body.is_required, "content": {body.kind: {"schema": schema}}});
    }
    match operation.access {
        Access::Open => described["security"] = json!([]),
        Access::OpenOnLoopback => described["security"] = may_have_token(),
        // A token like the others, and shown in the same header.
        Access::Scope(_) | Access::Attempt => {}
    }
    described
}

fn explain(operation: &Operation) -> String {
    let access = match operation.access {
        Access::Open => "Needs no token.".to_owned(),
        Access::OpenOnLoopback => "Needs no token on the server's own machine, elsewhere the scope `read`.".to_owned(),
        Access::Scope(scope) => format!("Needs the scope `{}`.", word(scope)),
        Access::Attempt => "Needs the token of the attempt.".to_owned(),
    };
    if operation.description.is_empty() { access } else { format!("{} {access}", operation.description) }
}

fn parameters(operation: &Operation, generator: &mut SchemaGenerator) -> Vec<Value> {
    let parts = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut list: Vec<Value> = parts
        .map(|name| {
            let name = name.trim_start_matches('*');
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
        })
        .collect();
    for (name, says) in &operation.headers {
        list.push(json!({"name": name, "in": "header", "description": says, "schema": {"type": "string"}}));
    }
    if let Some(query) = operation.query {
        let reference = query(generator);
        list.extend(query_parameters(&reference, generator));
    }
    list
}

/// The name behind a reference.
fn name_of(reference: &schemars::Schema) -> String {
    let pointer = reference.get("$ref").and_then(Value::as_str).unwrap_or_default();
    pointer.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The fields of a structure, each as a parameter.
fn query_parameters(reference: &schemars::Schema, generator: &SchemaGenerator) -> Vec<Value> {
    let Some(structure) = generator.definitions().get(&name_of(reference)) else { return Vec::new() };
    let required = |field: &str| {
        structure["required"].as_array().is_some_and(|required| required.iter().any(|name| name == field))
    };
    let fields = structure["properties"].as_object().into_iter().flatten();
    fields
        .map(|(field, schema)| {
            let mut schema = schema.clone();
            let says = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            not_null(&mut schema);
            json!({
                "name": field, "in": "query", "required": required(field),
                "description": says.unwrap_or_default(), "schema": schema,
            })
        })
        .collect()
}

/// A parameter that may be absent is never null.
fn not_null(schema: &mut Value) {
    if let Some(schema) = schema.as_object_mut().filter(|schema| schema.get("default") == Some(&Value::Null)) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|type_| type_ != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(Value::Array(choices)) = schema.get("anyOf") {
        let real: Vec<Value> = choices.iter().filter(|choice| choice["type"] != "null").cloned().collect();
        if let [only] = real.as_slice() {
            *schema = only.clone();
        }
    }
}

/// The document as a page that needs nothing from anywhere.
fn page(document: &Value) -> String {
    let mut body = String::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            // Writing to a text cannot fail.
            write_operation(&mut body, path, method, operation).unwrap_or_default();
        }
    }
    let schemas = document["components"]["schemas"].as_object();
    let schemas: String = schemas
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            let text = serde_json::to_string_pretty(schema).unwrap_or_default();
            format!(
                "<details id=\"{name}\"><summary><code>{name}</code></summary><pre>{}</pre></details>\n",
                escape(&text)
            )
        })
        .collect();
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Unknot API</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style></head><body>\
         <h1>Unknot API <small>{}</small></h1><p>Every path, made from the code that answers it. \
         For programs: <a href=\"/openapi.json\">openapi.json</a>.</p>{body}<h2>Objects</h2>{schemas}</body></html>",
        env!("CARGO_PKG_VERSION")
    )
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}\
    small{color:#6b7280;font-weight:normal}section{border-top:1px solid #d8dde3;padding:.75rem 0}\
    h3{margin:.2rem 0;font-size:1rem}b.get{color:#0b6bcb}b.post{color:#1a7f37}b.put{color:#9a6700}b.delete{color:#b42318}\
    code,pre{font:14px/1.45 ui-monospace,monospace}pre{background:#f5f7f9;padding:.75rem;overflow:auto}\
    table{border-collapse:collapse;margin:.4rem 0}td{padding:.15rem .8rem .15rem 0;vertical-align:top}p{margin:.3rem 0}";

fn write_operation(out: &mut String, path: &str, method: &str, operation: &Value) -> std::fmt::Result {
    let text = |value: &Value| escape(value.as_str().unwrap_or_default());
    writeln!(
        out,
        "<section><h3><b class=\"{method}\">{}</b> <code>{}</code></h3><p>{}. {}</p>",
        method.to_ascii_uppercase(),
        escape(path),
        text(&operation["summary"]),
        code_marks(&text(&operation["description"])),
    )?;
    out.push_str("<table>");
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let place = if parameter["in"] == "path" { "path" } else { parameter["in"].as_str().unwrap_or_default() };
        let says = code_marks(&text(&parameter["description"]));
        writeln!(out, "<tr><td>{place}</td><td><code>{}</code></td><td>{says}</td></tr>", text(&parameter["name"]))?;
    }
    if let Some(body) = shape(&operation["requestBody"]) {
        writeln!(out, "<tr><td>body</td><td>{body}</td><td></td></tr>")?;
    }
    for (status, reply) in operation["responses"].as_object().into_iter().flatten() {
        let (shape, says) = (shape(reply).unwrap_or_default(), code_marks(&text(&reply["description"])));
        writeln!(out, "<tr><td>{status}</td><td>{shape}</td><td>{says}</td></tr>")?;
    }
    out.push_str("</table></section>");
    Ok(())
}

/// What a body has, if there is one.
fn shape(told: &Value) -> Option<String> {
    let (kind, content) = told["content"].as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "application/json" | "application/problem+json" => link(&content["schema"]),
        other => escape(other),
    })
}

fn link(schema: &Value) -> String {
    let name = |schema: &Value| schema["$ref"].as_str().and_then(|at| at.rsplit('/').next()).map(str::to_owned);
    if let Some(name) = name(schema) {
        return format!("<a href=\"#{name}\"><code>{name}</code></a>");
    }
    match name(&schema["items"]) {
        Some(name) => format!("list of <a href=\"#{name}\"><code>{name}</code></a>"),
        None => escape(schema["type"].as_str().unwrap_or("any")),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Words between backticks as code.
fn code_marks(text: &str) -> String {
    let mut shown = String::new();
    for (place, part) in text.split('`').enumerate() {
        let tags = if place % 2 == 1 { ("<code>", "</code>") } else { ("", "") };
        write!(shown, "{}{part}{}", tags.0, tags.1).unwrap_or_default();
    }
    shown
}
