//! Placeholder written first so that the workspace builds; see DESIGN.
pub mod convert;
