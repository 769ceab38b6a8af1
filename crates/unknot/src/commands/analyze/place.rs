//! Where in a file the form of a wait graph is broken.

use unknot_api::in_plain_words;
use unknot_engine::core::wait::{Fault, Form};

/// Characters of a long text that are kept at its beginning, and as many at its end.
const KEPT: usize = 120;

/// The same fault with the path of its place, if it is one of the form. The text is read once more for that, since whoever
/// remembers the path reads more slowly.
pub(super) fn placed(fault: Fault, text: &[u8]) -> Fault {
    if matches!(fault, Fault::Meaning { .. }) {
        return fault;
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read: Result<Form, _> = serde_path_to_error::deserialize(&mut reader);
    // What has the form, with something behind it, has no place.
    let Err(error) = read else { return fault };
    // The whole is `.` there, and what has no name yet `?`.
    let path = error.path().to_string();
    match path.trim_end_matches(['.', '?']) {
        "" => fault,
        path => {
            let message = in_plain_words(&error.inner().to_string());
            Fault::Meaning { path: shortened(path), message: shortened(&message) }
        }
    }
}

/// A text whose middle is left out if it is long: what is echoed of a file may be anything.
fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count <= 2 * KEPT {
        return text.to_owned();
    }
    let (head, tail) = (text.chars().take(KEPT), text.chars().skip(count - KEPT));
    head.chain(" … ".chars()).chain(tail).collect()
}
