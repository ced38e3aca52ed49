//! Baetyl.
fn main() {}
