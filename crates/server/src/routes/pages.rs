//! Pages for people: the way in for a browser, and what the codes of problems mean.

use super::Params;
use crate::{
    app::App,
    operation::{Access, Operation, get},
    problem::{Answer, PAGES, Problem},
};
use axum::{
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// The pages of the codes of problems.
const ERROR_PAGES: &[(&str, &str)] = &[
    ("UK0400", include_str!("../../../../docs/errors/UK0400.md")),
    ("UK0401", include_str!("../../../../docs/errors/UK0401.md")),
    ("UK0403", include_str!("../../../../docs/errors/UK0403.md")),
    ("UK0404", include_str!("../../../../docs/errors/UK0404.md")),
    ("UK0405", include_str!("../../../../docs/errors/UK0405.md")),
    ("UK0408", include_str!("../../../../docs/errors/UK0408.md")),
    ("UK0409", include_str!("../../../../docs/errors/UK0409.md")),
    ("UK0413", include_str!("../../../../docs/errors/UK0413.md")),
    ("UK0415", include_str!("../../../../docs/errors/UK0415.md")),
    ("UK0416", include_str!("../../../../docs/errors/UK0416.md")),
    ("UK0421", include_str!("../../../../docs/errors/UK0421.md")),
    ("UK0422", include_str!("../../../../docs/errors/UK0422.md")),
    ("UK0429", include_str!("../../../../docs/errors/UK0429.md")),
    ("UK0430", include_str!("../../../../docs/errors/UK0430.md")),
    ("UK0431", include_str!("../../../../docs/errors/UK0431.md")),
    ("UK0432", include_str!("../../../../docs/errors/UK0432.md")),
    ("UK0500", include_str!("../../../../docs/errors/UK0500.md")),
    ("UK0503", include_str!("../../../../docs/errors/UK0503.md")),
];

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/", front)
            .open(Access::Open)
            .is("front", "The way to the documentation")
            .gives_nothing(303, "Go to `/docs`."),
        get("/login", login)
            .open(Access::Open)
            .is("login", "Let a browser in by the link that `unknot serve` printed")
            .query::<Login>()
            .gives_nothing(303, "It is in; go to `/docs`."),
        get("/errors/{code}", error_page)
            .open(Access::Open)
            .is("getErrorPage", "Explain the code of a problem")
            .gives_as::<String>(200, "The page.", "text/markdown; charset=utf-8"),
    ]
}

fn go_to(place: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

async fn front() -> Response {
    go_to("/docs")
}

/// The link's code.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// As printed; it works once.
    code: String,
}

async fn login(State(app): State<Arc<App>>, Params(query): Params<Login>) -> Answer<Response> {
    let used =
        || Problem::forbidden("this link was used already, or is of an earlier start; `unknot serve` prints one");
    let cookie = app.sessions.log_in(&query.code).ok_or_else(used)?;
    let mut response = go_to("/docs");
    response.headers_mut().extend(HeaderValue::from_str(&cookie).map(|cookie| (header::SET_COOKIE, cookie)));
    Ok(response)
}

async fn error_page(Path(code): Path<String>) -> Answer<Response> {
    let page = ERROR_PAGES.iter().find(|(known, _)| *known == code);
    let (_, text) = page.ok_or_else(|| Problem::not_found(format!("{PAGES}/{code} is not among the pages here")))?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], *text).into_response())
}
