//! The server for devices that have no certificate yet (9003): activation, and objects by signed address.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use baetyl_core_lib::spec::ActiveResponse;
use http::HeaderMap;
use serde::Deserialize;

use crate::error::ServiceError;
use crate::http::{Peer, done, read};
use crate::objects::ObjectFiles;
use crate::pki::Pki;
use crate::service::Cloud;

#[derive(Debug, Clone)]
pub(crate) struct Init {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) files: ObjectFiles,
    pub(crate) pki: Arc<Pki>,
}

pub(crate) fn routes() -> Router<Init> {
    Router::new()
        .route("/v1/active", post(activate))
        .route("/v1/objects/{sha256}", get(object))
        .route("/health", get(async || done(Ok(()))))
}

async fn activate(
    State(init): State<Init>,
    Extension(peer): Extension<Peer>,
    body: Body,
) -> Result<Json<ActiveResponse>, ServiceError> {
    let body = read(body, 64 * 1024).await?;
    Ok(Json(init.cloud.activate(&body, &peer.address.ip().to_string()).await?))
}

#[derive(Deserialize)]
struct Marked {
    #[serde(default)]
    e: i64,
    #[serde(default)]
    s: String,
}

async fn object(
    State(init): State<Init>,
    Path(sha256): Path<String>,
    Query(marked): Query<Marked>,
    headers: HeaderMap,
) -> Result<Response, ServiceError> {
    if !init.pki.marked(&sha256, marked.e, &marked.s) {
        return Err(ServiceError::Denied {
            reason: "the address is not signed, or its time has passed".to_owned(),
        });
    }
    init.files.serve(&sha256, &headers).await
}
