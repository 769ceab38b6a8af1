//! The published schema is the one that the reader describes.
#![expect(clippy::disallowed_methods, reason = "tests are free of the bans")]

use std::{fs, path::Path};
use unknot_api::schema::workflow_schema;

#[test]
fn the_published_schema_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/workflow.schema.json");
    let fresh = serde_json::to_string_pretty(&workflow_schema()).expect("a schema is JSON") + "\n";
    if std::env::var_os("UNKNOT_BLESS").is_some() {
        fs::write(&path, &fresh).expect("the schema can be written");
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == fresh,
        "docs/workflow.schema.json is stale: run `UNKNOT_BLESS=1 cargo test -p unknot-api schema`"
    );
}

#[test]
fn the_schema_closes_every_map_with_known_keys() {
    let schema = workflow_schema();
    let definitions = schema["$defs"].as_object().expect("definitions");
    assert!(definitions.len() >= 8, "{definitions:?}");
    for (name, definition) in definitions.iter().chain([(&"Workflow".to_owned(), &schema)]) {
        assert_eq!(definition["additionalProperties"], false, "{name}");
        let properties = definition["properties"].as_object().expect("properties");
        for (key, property) in properties {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 10), "{name}.{key} says nothing");
        }
    }
}
