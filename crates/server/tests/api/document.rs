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
