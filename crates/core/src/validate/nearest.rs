//! The known name nearest to a mistyped one.

/// Names longer than this are not compared: nobody mistypes them into each other.
const NAME_LEN_MAX: usize = 100;

/// The candidate that fewest edits turn `given` into, if it is near enough to be what was meant.
///
/// Near is at most a third of the longer name's letters; the first of equals wins.
pub fn nearest<'c>(given: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let given: Vec<char> = given.chars().take(NAME_LEN_MAX + 1).collect();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let longest = given.len().max(candidate.len());
        let bound = best.map_or(longest.div_ceil(3), |(edits, _)| edits.saturating_sub(1));
        if longest > NAME_LEN_MAX || given.len().abs_diff(candidate.len()) > bound {
            continue;
        }
        let edits = edits_between(&given, candidate);
        if edits <= bound && edits < longest {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, name)| name)
}

/// Edit distance where inserting, dropping, changing and swapping neighbours cost one each
/// (optimal string alignment).
fn edits_between(given: &[char], candidate: &str) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=given.len()).collect();
    let mut previous = None;
    for (row, letter) in candidate.chars().enumerate() {
        let mut next = vec![row + 1];
        for (column, &own) in given.iter().enumerate() {
            let mut cost = (last[column] + usize::from(own != letter)).min(last[column + 1] + 1).min(next[column] + 1);
            if column > 0 && Some(own) == previous && given[column - 1] == letter {
                cost = cost.min(before[column - 1] + 1);
            }
            next.push(cost);
        }
        previous = Some(letter);
        before = std::mem::replace(&mut last, next);
    }
    last[given.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["timeout", "needs", "queue", "queue_timeout"];
        for (given, expected) in [
            ("timeuot", Some("timeout")),
            ("need", Some("needs")),
            ("queu_timeout", Some("queue_timeout")),
            ("x", None),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
    }
}
