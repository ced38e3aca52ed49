//! Taking a change in: the report's merge (edge.md 2.3). Pure.
