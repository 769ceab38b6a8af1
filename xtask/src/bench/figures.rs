//! What a bench has printed: one JSON object a figure, its rounds reduced, ours and theirs compared.
//!
//! A figure has `who`, `durability`, `what`, `unit`, `value`, and in `with` how it was taken.

use crate::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The `who` of our own figures.
pub(super) const US: &str = "Unknot";
/// How a figure was taken; two that differ in one of these are not compared.
const TERMS: &[&str] = &["slots", "shape", "runs", "window"];

/// One figure a line.
pub(super) fn parse(lines: &str) -> Result<Vec<Value>> {
    Ok(lines.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?)
}

/// Of each figure that of the middle round (the upper of two), with the lowest and the highest beside it.
///
/// # Errors
/// If the rounds do not have the same figures.
pub(super) fn middle(rounds: Vec<Vec<Value>>) -> Result<Vec<Value>> {
    let count = rounds.len();
    let mut by_place: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    for (place, figure) in rounds.into_iter().flat_map(|round| round.into_iter().enumerate()) {
        by_place.entry(place).or_default().push(figure);
    }
    let reduced = by_place.into_values().map(|mut taken| {
        if taken.len() != count || taken.iter().any(|figure| figure["what"] != taken[0]["what"]) {
            return Err(format!("the rounds differ in what they measure: {}", json!(taken)).into());
        }
        taken.sort_by(|one, other| value(one).total_cmp(&value(other)));
        let (lowest, highest) = (value(&taken[0]), value(&taken[count - 1]));
        let mut figure = taken.swap_remove(count / 2);
        if count > 1 {
            for (key, of_rounds) in [("rounds", json!(count)), ("lowest", lowest.into()), ("highest", highest.into())] {
                figure["with"][key] = of_rounds;
            }
        }
        Ok(figure)
    });
    reduced.collect()
}

/// Tells each figure of a peer how many times better ours is (`unknot_times`), where we have that figure.
pub(super) fn compare(figures: &mut [Value]) {
    let (ours, theirs): (Vec<_>, Vec<_>) = figures.iter_mut().partition(|figure| figure["who"] == US);
    for peer in theirs {
        if let Some(our) = ours.iter().find(|our| is_same_measurement(our, peer)) {
            let less_is_better = peer["unit"].as_str().is_some_and(|unit| unit.ends_with("_ms"));
            let ratio = value(our) / value(peer);
            peer["unknot_times"] = json!(if less_is_better { ratio.recip() } else { ratio });
        }
    }
}

fn is_same_measurement(our: &Value, peer: &Value) -> bool {
    let is_term_same = |term: &&str| match (&our["with"][term], &peer["with"][term]) {
        (Value::Null, _) | (_, Value::Null) => true,
        (ours, theirs) => ours == theirs,
    };
    our["what"] == peer["what"] && our["unit"] == peer["unit"] && TERMS.iter().all(is_term_same)
}

/// The figures as lines of text, those of one measurement together, and how durable each system was.
pub(super) fn table(figures: &mut [Value]) -> String {
    let kind = |figure: &Value| (figure["what"].clone(), figure["with"]["slots"].clone());
    let kinds: Vec<_> = figures.iter().map(kind).collect();
    figures.sort_by_cached_key(|figure| kinds.iter().position(|other| *other == kind(figure)));
    let mut text = format!("{:<22} {:<14} {:>12}  {:<10} {:>8}  how\n", "what", "who", "value", "unit", "Unknot");
    let mut durability = BTreeMap::new();
    for figure in &*figures {
        let word = |key: &str| figure[key].as_str().unwrap_or_default();
        let times = figure["unknot_times"].as_f64().map(|times| format!("×{times:.2}")).unwrap_or_default();
        let (what, who, unit, value) = (word("what"), word("who"), word("unit"), value(figure));
        let line = format!("{what:<22} {who:<14} {value:>12.2}  {unit:<10} {times:>8}  {}", how(figure));
        text += line.trim_end();
        text.push('\n');
        durability.insert(who, word("durability"));
    }
    text += "\nHow durable what they answer is:\n";
    for (who, durability) in durability {
        text += &format!("  {who:<14} {durability}\n");
    }
    text
}

fn how(figure: &Value) -> String {
    let terms = figure["with"].as_object().into_iter().flatten();
    terms.map(|(key, value)| format!("{key} {}", plain(value))).collect::<Vec<_>>().join(", ")
}

fn value(figure: &Value) -> f64 {
    figure["value"].as_f64().unwrap_or_default()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.2}", number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(who: &str, unit: &str, value: f64, with: Value) -> Value {
        json!({"who": who, "durability": "fsync", "what": "tasks", "unit": unit, "value": value, "with": with})
    }

    #[test]
    fn a_figure_stands_in_one_line_with_how_it_was_taken() {
        let mut figures = [figure(US, "per_s", 985.248, json!({"slots": 16, "p99_ms": 1.234, "shape": "burn-down"}))];
        let table = table(&mut figures);
        let line = table.lines().find(|line| line.starts_with("tasks")).unwrap();
        assert!(line.contains("Unknot") && line.contains(" 985.25  per_s"), "{line}");
        assert!(line.ends_with("slots 16, p99_ms 1.23, shape burn-down"), "{line}");
    }

    #[test]
    fn a_peer_stands_below_ours_with_the_ratio_and_its_durability() {
        let slots = |slots: u32| json!({"slots": slots});
        let mut figures = vec![
            figure(US, "per_s", 30.0, slots(16)),
            figure(US, "per_s", 50.0, slots(64)),
            figure("Peer 1", "per_s", 10.0, slots(16)),
        ];
        compare(&mut figures);
        let table = table(&mut figures);
        let at = |words: &[&str]| table.lines().position(|line| words.iter().all(|word| line.contains(word))).unwrap();
        let peer = at(&["Peer 1", "×3.00", "slots 16"]);
        assert!(at(&["Unknot", "slots 16"]) < peer && peer < at(&["Unknot", "slots 64"]), "{table}");
        assert_eq!(table.lines().filter(|line| line.ends_with("fsync")).count(), 2, "{table}");
    }

    #[test]
    fn only_what_was_taken_alike_is_compared_and_less_time_is_better() {
        let mut figures = [
            figure(US, "p50_ms", 0.5, json!({"runs": 1_000, "p99_ms": 1.0})),
            figure("Peer 1", "p50_ms", 2.0, json!({"runs": 1_000, "p99_ms": 7.0})),
            figure("Peer 2", "p50_ms", 2.0, json!({"runs": 50})),
            figure("Peer 3", "per_s", 2.0, json!({})),
        ];
        compare(&mut figures);
        let times: Vec<_> = figures.iter().map(|figure| figure["unknot_times"].as_f64()).collect();
        assert_eq!(times, [None, Some(4.0), None, None]);
    }

    #[test]
    fn of_three_rounds_the_middle_one_is_told_whole() {
        let round = |value: f64| vec![figure(US, "p50_ms", value, json!({"p99_ms": value * 10.0}))];
        let middle = middle(vec![round(3.0), round(1.0), round(2.0)]).unwrap();
        let with = json!({"p99_ms": 20.0, "rounds": 3, "lowest": 1.0, "highest": 3.0});
        assert_eq!(middle, [figure(US, "p50_ms", 2.0, with)]);
        let one = super::middle(vec![round(3.0)]).unwrap();
        assert_eq!(one, round(3.0));
    }

    #[test]
    fn rounds_that_measure_different_things_are_an_error() {
        let round = vec![figure(US, "per_s", 1.0, json!({}))];
        assert!(middle(vec![round.clone(), [round.clone(), round].concat()]).is_err());
    }
}
