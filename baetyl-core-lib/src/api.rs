//! The local API as a function from request to response, over the traits; no server (edge.md 4.3).
//!
//! It decides routes, statuses and bodies. Whoever serves it decides who may connect: the API shows logs and
//! changes properties of the node, and asks nobody for a password.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::engine::Engine;
use crate::error::Chain;
use crate::link::{Link, LinkState};
use crate::shadow::Shadow;
use crate::spec::node::NodeView;
use crate::spec::{Report, Section, StsResponse};
use crate::view::{DEVICE_TIMEOUT, view};

mod logs;
mod sts;

/// What came over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `PUT` …
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, without the question mark; empty when there is none.
    pub query: String,
    /// The body; whoever serves limits its size.
    pub body: Bytes,
}

/// What goes back over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

impl Response {
    /// 200 with a value as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status: 200, content_type: JSON, body: body.into() },
            Err(error) => Self::unknown(&Chain(&error)),
        }
    }

    /// 200 with bytes as they are. As with the original they count as JSON exactly when they are.
    pub fn bytes(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
        Self { status: 200, content_type: if is_json { JSON } else { TEXT }, body }
    }

    /// A refusal: `{code, message}`.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({"code": code, "message": message}).to_string().into();
        Self { status, content_type: JSON, body }
    }

    /// 500 with the code that the original has for whatever went wrong.
    fn unknown(message: &dyn fmt::Display) -> Self {
        Self::error(500, "UnknownError", &message.to_string())
    }

    fn invalid(message: &str) -> Self {
        Self::error(400, "RequestParamInvalid", message)
    }
}

/// What the API shows and changes.
#[derive(Debug)]
pub struct Context {
    node: String,
    shadow: Arc<dyn Shadow>,
    link: Option<Arc<dyn Link>>,
    engines: Vec<Arc<dyn Engine>>,
    clock: Arc<dyn Clock>,
    credentials: Mutex<Option<StsResponse>>,
}

impl Context {
    /// The API of the node of this name. A node that has no way to the cloud has no link.
    pub const fn new(
        node: String,
        shadow: Arc<dyn Shadow>,
        link: Option<Arc<dyn Link>>,
        engines: Vec<Arc<dyn Engine>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { node, shadow, link, engines, clock, credentials: Mutex::new(None) }
    }
}

/// Answers a request. Never fails: what goes wrong is in the response.
///
/// | method, path | answer |
/// |---|---|
/// | `GET /health` | that the agent lives |
/// | `GET /node/stats` | the node as the cloud shows it |
/// | `GET /node/properties` | properties as reported and as desired |
/// | `PUT /node/properties` | changes reported properties: texts, or `null` to drop one |
/// | `GET /services/<instance>/log?tailLines=` | the last lines that an instance wrote |
/// | `GET /sync/state` | the state of the way to the cloud |
/// | `POST /agent/sts` | credentials for the cloud's object storage |
///
/// A dropped future has changed all that was asked or nothing.
///
/// ```
/// use std::sync::Arc;
///
/// use baetyl_core_lib::api::{Context, Request, handle};
/// use baetyl_core_lib::shadow::StoredShadow;
/// use baetyl_core_lib::store::MemoryStore;
/// use baetyl_core_lib::testing::ManualClock;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), baetyl_core_lib::store::StoreError> {
/// let shadow = Arc::new(StoredShadow::open(Arc::new(MemoryStore::new())).await?);
/// let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z"));
/// let context = Context::new("edge-a".to_owned(), shadow, None, vec![], clock);
///
/// let request = Request {
///     method: "PUT".to_owned(),
///     path: "/node/properties".to_owned(),
///     body: r#"{"lamp":"on"}"#.into(),
///     ..Request::default()
/// };
/// assert_eq!(handle(&context, request).await.body, r#"{"lamp":"on"}"#);
/// # Ok(())
/// # }
/// ```
pub async fn handle(context: &Context, request: Request) -> Response {
    let path = request.path.strip_prefix('/').unwrap_or(&request.path);
    let segments: Vec<&str> = path.split('/').collect();
    match (request.method.as_str(), segments.as_slice()) {
        ("GET", ["health"]) => Response::json(&json!({"success": true})),
        ("GET", ["node", "stats"]) => stats(context),
        ("GET", ["node", "properties"]) => properties(context),
        ("PUT", ["node", "properties"]) => change_properties(context, &request.body).await,
        ("GET", ["services", instance, "log"]) => logs::tail(context, instance, &request.query).await,
        ("GET", ["sync", "state"]) => sync_state(context),
        ("POST", ["agent", "sts"]) => sts::credentials(context, &request.body).await,
        (
            method,
            ["health"]
            | ["node", "stats" | "properties"]
            | ["services", _, "log"]
            | ["sync", "state"]
            | ["agent", "sts"],
        ) => Response::error(
            405,
            "ErrRequestMethodNotFound",
            &format!("{} does not take {method}", request.path),
        ),
        _ => Response::error(404, "ErrRequestMethodNotFound", &format!("there is no {}", request.path)),
    }
}

fn stats(context: &Context) -> Response {
    let report = Arc::clone(&context.shadow.report().borrow());
    let desire = Arc::clone(&context.shadow.desire().borrow());
    let (report, desire) = match (serde_json::to_value(&*report), serde_json::to_value(&*desire)) {
        (Ok(report), Ok(desire)) => (report, desire),
        (Err(error), _) | (_, Err(error)) => return Response::unknown(&Chain(&error)),
    };
    let shown = view(&report, context.clock.now(), DEVICE_TIMEOUT);
    Response::json(&NodeView {
        name: context.node.clone(),
        report: Some(shown.report),
        app_mode: shown.app_mode.to_owned(),
        desire: Some(desire),
        ready: shown.ready as i64,
        ..NodeView::default()
    })
}

fn properties(context: &Context) -> Response {
    let report = reported_properties(context);
    let desire = context.shadow.desire().borrow().nodeprops.clone().unwrap_or_default();
    Response::json(&json!({"report": report, "desire": desire}))
}

async fn change_properties(context: &Context, body: &[u8]) -> Response {
    let change: BTreeMap<String, Value> = match serde_json::from_slice(body) {
        Ok(change) => change,
        Err(error) => return Response::unknown(&format_args!("properties are not a JSON object: {error}")),
    };
    if let Some((name, _)) = change.iter().find(|(_, value)| !(value.is_string() || value.is_null())) {
        return Response::unknown(&format_args!("property {name:?} must be a text, or null to drop it"));
    }
    let part = Report { nodeprops: Section::Is(change), ..Report::default() };
    match context.shadow.merge_report(part).await {
        Ok(()) => Response::json(&reported_properties(context)),
        Err(error) => Response::unknown(&Chain(&error)),
    }
}

fn reported_properties(context: &Context) -> BTreeMap<String, Value> {
    context.shadow.report().borrow().nodeprops.value().cloned().unwrap_or_default()
}

fn sync_state(context: &Context) -> Response {
    let state = context.link.as_ref().map(|link| link.state()).unwrap_or_default();
    let (state, message) = match state {
        LinkState::Unknown => ("Unknown", String::new()),
        LinkState::Succeeded => ("Succeeded", String::new()),
        LinkState::NodeNotFound(message) => ("NodeNotFound", message),
        LinkState::NetworkError(message) => ("NetworkError", message),
    };
    Response::json(&json!({"state": state, "message": message}))
}
