//! Objects: put, list, look up, delete (design.md 9).

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use crate::error::ServiceError;
use crate::http::{Answer, done};
use crate::service::ObjectInfo;

/// How long a signed address is good for, in seconds.
const SIGNED: i64 = 3600;

#[derive(Deserialize)]
struct Query1 {
    #[serde(default)]
    object: String,
}

pub(super) fn routes() -> Router<Admin> {
    Router::new()
        .route("/v1/objects", get(async || Json(json!({ "sources": [{ "name": "local" }] }))))
        .route(
            "/v2/objects",
            get(async || Json(json!({ "sources": { "local": { "accountEnabled": false } } }))),
        )
        .route("/v2/objects/local/buckets", get(buckets))
        .route("/v2/objects/local/buckets/{bucket}/objects", get(list))
        .route("/v2/objects/local/buckets/{bucket}/object", get(look_up).put(put).delete(remove))
}

async fn buckets(State(admin): State<Admin>) -> Answer {
    let mut buckets = BTreeMap::new();
    for info in admin.cloud.objects().await? {
        buckets.entry(info.bucket).or_insert(info.create_time);
    }
    let buckets: Vec<Value> =
        buckets.into_iter().map(|(name, made)| json!({ "name": name, "createTime": made })).collect();
    Ok(Json(json!({ "buckets": buckets })))
}

async fn list(State(admin): State<Admin>, Path(bucket): Path<String>) -> Answer {
    let all = admin.cloud.objects().await?.into_iter().filter(|info| info.bucket == bucket);
    let names: BTreeSet<String> = all.map(|info| info.object).collect();
    Ok(Json(json!({ "objects": names.into_iter().map(|name| json!({ "name": name })).collect::<Vec<_>>() })))
}

async fn look_up(
    State(admin): State<Admin>,
    Path(bucket): Path<String>,
    Query(query): Query<Query1>,
) -> Answer {
    let info = admin.cloud.object(&bucket, &query.object).await?;
    let expiry = admin.cloud.now_seconds() + SIGNED;
    let mark = admin.pki.mark(&info.sha256, expiry);
    let url = format!("{}?e={expiry}&s={mark}", admin.cloud.init_object_url(&info.sha256));
    Ok(Json(shown(&info, &url)))
}

async fn put(
    State(admin): State<Admin>,
    Path(bucket): Path<String>,
    Query(query): Query<Query1>,
    body: Body,
) -> Answer {
    let part = admin.cloud.random_word();
    let received = admin.files.receive(body, &part).await?;
    let _turn = admin.files.turn().await;
    let mut info = admin.files.keep(received).await?;
    info.bucket = bucket;
    info.object = query.object;
    let url = admin.cloud.node_object_url(&info.sha256);
    let answer = shown(&info, &url);
    if let Some(unused) = admin.cloud.put_object(info).await? {
        admin.files.remove(&unused).await;
    }
    Ok(Json(answer))
}

async fn remove(
    State(admin): State<Admin>,
    Path(bucket): Path<String>,
    Query(query): Query<Query1>,
) -> Answer {
    let _turn = admin.files.turn().await;
    match admin.cloud.delete_object(&bucket, &query.object).await {
        Ok(unused) => {
            if let Some(unused) = unused {
                admin.files.remove(&unused).await;
            }
            done(Ok(()))
        }
        Err(ServiceError::NotFound { .. }) => done(Ok(())),
        Err(error) => Err(error),
    }
}

fn shown(info: &ObjectInfo, url: &str) -> Value {
    json!({ "url": url, "md5": info.md5, "sha256": info.sha256, "size": info.size, "token": "" })
}
