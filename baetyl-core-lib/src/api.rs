//! The local API as a function from request to response, over the traits; no server (edge.md 4.3).
