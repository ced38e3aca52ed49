//! Baetyl.
