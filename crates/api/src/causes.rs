//! Errors for people: what went wrong, and why.

/// An error with its causes, in one line: `cannot open the store: no such file`. A cause that its error has said already
/// is not said again.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}
