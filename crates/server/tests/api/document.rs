//! The document that describes the API.

use crate::support::Served;
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn each_operation_says_what_it_is() {
    let served = Served::open();
    let document = served.get("/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} stands twice");
            assert!(operation["summary"].as_str().unwrap().len() > 5, "{method} {path}");
            let named: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let in_path: BTreeSet<&str> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(named, in_path, "{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2') || status.starts_with('3')), "{path}");
        }
    }
    assert!(paths.len() > 25, "{}", paths.len());
}

#[test]
fn parameters_have_words_and_bounds_and_defaults_that_fit() {
    let document = unknot_server::document();
    let parameters = |path: &str| document["paths"][path]["get"]["parameters"].as_array().unwrap().clone();
    let find = |path: &str, name: &str| {
        let found = parameters(path).into_iter().find(|parameter| parameter["name"] == name);
        found.unwrap_or_else(|| panic!("{path} has no `{name}`"))["schema"].clone()
    };
    for path in
        ["/runs", "/runs/cancelled", "/runs/{run_id}/tasks", "/runs/{run_id}/events", "/dead-letters", "/workflows"]
    {
        let limit = find(path, "limit");
        assert_eq!(
            (&limit["minimum"], &limit["maximum"], &limit["type"]),
            (&1.into(), &1_000.into(), &"integer".into())
        );
        assert_eq!(limit.get("default"), None, "absent is not null");
    }
    assert_eq!(find("/runs", "status")["enum"].as_array().unwrap().len(), 7);
    assert_eq!(find("/runs/{run_id}/tasks", "status")["enum"].as_array().unwrap().len(), 9);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert!(
        !schemas.keys().any(|name| name.ends_with(|last: char| last.is_ascii_digit()) || name == "Which"),
        "{:?}",
        schemas.keys()
    );
}

#[test]
fn the_document_says_whether_a_token_is_needed() {
    let with = Served::closed().get("/openapi.json");
    let without = Served::open().get("/openapi.json");
    let security = |document: &Value, path: &str| document["paths"][path]["get"]["security"].clone();
    let optional = serde_json::json!([{"token": []}, {}]);
    assert_eq!(with["security"], serde_json::json!([{"token": []}]));
    assert_eq!(security(&with, "/runs"), Value::Null, "as all");
    assert_eq!(security(&with, "/stats"), optional);
    assert_eq!(security(&with, "/health"), serde_json::json!([]));
    assert_eq!((&without["security"], security(&without, "/runs")), (&optional, optional.clone()));
    assert_eq!(security(&without, "/health"), serde_json::json!([]));
}

#[test]
fn every_path_of_the_document_is_answered() {
    let served = Served::open();
    let document = served.get("/openapi.json");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let asked = path.replace(['{', '}'], "");
            let told = served.ask(&method.to_ascii_uppercase(), &asked).send();
            assert_ne!(told.status, 405, "{method} {path}");
            let nothing = "there is nothing at this path; `/docs` lists what there is";
            let detail = serde_json::from_slice::<Value>(&told.body).unwrap_or_default()["detail"].clone();
            assert_ne!(detail, nothing, "{method} {path}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, field)| match field.as_str() {
                Some(target) if key == "$ref" => drop(found.insert(target)),
                _ => references(field, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = unknot_server::document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for target in found {
        assert!(document.pointer(target.strip_prefix('#').unwrap()).is_some(), "{target}");
    }
}
