//! How often each route was asked, and what was answered: the first thing to look at when nodes do not do what
//! they should. Shown at `GET /health?verbose`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

/// Server, route, status.
type Key = (&'static str, String, u16);

/// Counters of all servers of a cloud, since it was started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts(Arc<Mutex<BTreeMap<Key, u64>>>);

impl Counts {
    /// Counts a request once it is answered. Routes are counted, not paths: nobody can make this large.
    pub(crate) async fn count(self, server: &'static str, request: Request, next: Next) -> Response {
        let path = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
        let route = format!("{} {path}", request.method());
        let response = next.run(request).await;
        let key = (server, route, response.status().as_u16());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        *count = count.saturating_add(1);
        drop(counts);
        response
    }

    /// `{server: {route: {status: count}}}`.
    pub(crate) fn shown(&self) -> Value {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shown = json!({});
        for ((server, route, status), count) in counts.iter() {
            shown[*server][route][status.to_string()] = json!(count);
        }
        shown
    }
}
