//! The known name nearest to a mistyped one.

/// The candidate nearest to what was typed, if it is near enough to be what was meant.
pub(crate) fn nearest<'c>(given: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let edits = |candidate: &'c str| (strsim::osa_distance(given, candidate), candidate);
    let (edits, candidate) = candidates.into_iter().map(edits).min_by_key(|(edits, _)| *edits)?;
    (edits <= given.len().max(candidate.len()).div_ceil(3)).then_some(candidate)
}
