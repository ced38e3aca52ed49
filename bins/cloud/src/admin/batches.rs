//! Batches and their records (cloud.md 3.9).

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::routing::{delete, get, post};

use super::{Admin, MOST, Named, answer};
use crate::http::{done, read};
use crate::service::ListOptions;

pub(super) fn routes() -> Router<Admin> {
    Router::new()
        .route(
            "/v1/register",
            post(async |State(admin): State<Admin>, body: Body| {
                answer(admin.cloud.create_batch(&read(body, MOST).await?).await)
            })
            .get(async |State(admin): State<Admin>, Query(options): Query<ListOptions>| {
                answer(admin.cloud.batches(&options).await)
            }),
        )
        .route(
            "/v1/register/{batch}",
            get(async |State(admin): State<Admin>, Path(name): Named| answer(admin.cloud.batch(&name).await))
                .put(async |State(admin): State<Admin>, Path(name): Named, body: Body| {
                    answer(admin.cloud.update_batch(&name, &read(body, MOST).await?).await)
                })
                .delete(async |State(admin): State<Admin>, Path(name): Named| {
                    done(admin.cloud.delete_batch(&name).await)
                }),
        )
        .route(
            "/v1/register/{batch}/record",
            get(async |State(admin): State<Admin>, Path(name): Named| {
                answer(admin.cloud.batch_records(&name).await)
            })
            .post(async |State(admin): State<Admin>, Path(name): Named, body: Body| {
                answer(admin.cloud.create_batch_record(&name, &read(body, MOST).await?).await)
            }),
        )
        .route(
            "/v1/register/{batch}/record/{record}",
            delete(async |State(admin): State<Admin>, Path((batch, record)): Path<(String, String)>| {
                done(admin.cloud.delete_batch_record(&batch, &record).await)
            }),
        )
}
