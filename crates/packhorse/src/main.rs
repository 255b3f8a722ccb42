//! The `packhorse` command.

fn main() {}
