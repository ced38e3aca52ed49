//! Desire less report (edge.md 2.5). Pure.
