//! The `unknot` command.

fn main() {}
