//! What is wrong with a query, in sentences: its reader knows texts and types, the schema knows the bounds.

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

/// What the reader of a query begins its sentences with.
const READERS: &str = "Failed to deserialize query string: ";
/// What it says of texts that are no numbers, or none of that size.
const NO_NUMBER: [&str; 4] = [
    "invalid digit found in string",
    "cannot parse integer from empty string",
    "number too large to fit in target type",
    "number too small to fit in target type",
];
/// What it says of texts that are no truths.
const NO_TRUTH: &str = "provided string was not `true` or `false`";

/// What the reader of a query says of it, for whoever asked.
pub(super) fn in_words<T: JsonSchema>(said: &str) -> String {
    let said = said.strip_prefix(READERS).unwrap_or(said);
    let field_of = |phrase: &str| said.strip_suffix(phrase)?.strip_suffix(": ");
    if let Some(field) = NO_NUMBER.into_iter().find_map(field_of) {
        return format!("`{field}` is {}", whole::<T>(field));
    }
    match field_of(NO_TRUTH) {
        Some(field) => format!("`{field}` is `true` or `false`"),
        None => unknot_api::in_plain_words(said),
    }
}

/// The numbers that may stand there.
fn whole<T: JsonSchema>(field: &str) -> String {
    let schema = schema_for!(T);
    let of_field = schema.get("properties").map_or(&Value::Null, |fields| &fields[field]);
    let bound = |key: &str| of_field[key].as_u64();
    let most = bound("maximum").or((of_field["format"] == "uint32").then_some(u64::from(u32::MAX)));
    let least = bound("minimum").unwrap_or_default();
    match most {
        Some(most) => format!("a whole number from {least} to {most}"),
        None => format!("a whole number, {least} or more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[schemars(range(min = 1, max = 1_000))]
        limit: Option<usize>,
        #[schemars(range(min = 1))]
        attempt: Option<u32>,
        follow: Option<bool>,
    }

    #[test]
    fn what_is_wrong_with_a_query_is_said_with_its_bounds() {
        for (query, told) in [
            ("limit=many", "`limit` is a whole number from 1 to 1000"),
            ("limit=", "`limit` is a whole number from 1 to 1000"),
            ("limit=99999999999999999999999", "`limit` is a whole number from 1 to 1000"),
            ("attempt=-1", "`attempt` is a whole number from 1 to 4294967295"),
            ("follow=perhaps", "`follow` is `true` or `false`"),
            ("limt=1", "limt: unknown field `limt`, expected one of `limit`, `attempt`, `follow`"),
        ] {
            let uri = format!("/runs?{query}").parse().unwrap();
            let error = axum::extract::Query::<Asked>::try_from_uri(&uri).unwrap_err();
            assert_eq!(in_words::<Asked>(&unknot_api::with_causes(&error)), told);
        }
        let uri = "/runs?limit=1&attempt=2&follow=true".parse().unwrap();
        let Asked { limit, attempt, follow } = axum::extract::Query::<Asked>::try_from_uri(&uri).unwrap().0;
        assert_eq!((limit, attempt, follow), (Some(1), Some(2), Some(true)));
    }
}
