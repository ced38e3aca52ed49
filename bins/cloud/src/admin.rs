//! The server for people and tools (9004): plain HTTP, the original's routes (cloud.md 3).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::counts::Counts;
use crate::error::ServiceError;
use crate::http::{Answer, done, read};
use crate::objects::ObjectFiles;
use crate::pki::Pki;
use crate::service::{Cloud, ListOptions, NodeInput, SecretType};

mod batches;
mod objects;

/// The most that a body may hold: a configuration of 4 MiB, escaped.
const MOST: usize = 16 * 1024 * 1024;

#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) files: ObjectFiles,
    pub(crate) pki: Arc<Pki>,
    pub(crate) counts: Counts,
}

type Named = Path<String>;

pub(crate) fn routes() -> Router<Admin> {
    nodes()
        .merge(resources())
        .merge(secrets("/v1/secrets", SecretType::Config))
        .merge(secrets("/v1/registries", SecretType::Registry))
        .merge(secrets("/v1/certificates", SecretType::Certificate))
        .route(
            "/v1/registries/{name}/refresh",
            post(async |State(admin): State<Admin>, Path(name): Named, body: Body| {
                answer(admin.cloud.refresh_registry(&name, &read(body, MOST).await?).await)
            }),
        )
        .merge(modules())
        .merge(batches::routes())
        .merge(objects::routes())
        .route("/health", get(health))
}

#[derive(Deserialize)]
struct Verbose {
    verbose: Option<String>,
}

/// That it lives; with `?verbose` also how often each route was asked since it was started.
async fn health(State(admin): State<Admin>, Query(query): Query<Verbose>) -> Answer {
    let shown = query.verbose.map(|_| admin.counts.shown());
    Ok(Json(shown.map_or_else(
        || json!({ "success": true }),
        |requests| json!({ "success": true, "requests": requests }),
    )))
}

fn nodes() -> Router<Admin> {
    Router::new()
        .route(
            "/v1/nodes",
            post(create_node)
                .get(async |State(admin): State<Admin>, Query(options): Query<ListOptions>| {
                    answer(admin.cloud.nodes(&options).await)
                })
                .put(read_nodes),
        )
        .route(
            "/v1/nodes/{name}",
            get(async |State(admin): State<Admin>, Path(name): Named| answer(admin.cloud.node(&name).await))
                .put(update_node)
                .delete(async |State(admin): State<Admin>, Path(name): Named| {
                    done(admin.cloud.delete_node(&name).await)
                }),
        )
        .route(
            "/v1/nodes/{name}/stats",
            get(async |State(admin): State<Admin>, Path(name): Named| {
                answer(admin.cloud.node_stats(&name).await)
            }),
        )
        .route(
            "/v1/nodes/{name}/apps",
            get(async |State(admin): State<Admin>, Path(name): Named| {
                answer(admin.cloud.node_apps_view(&name).await)
            }),
        )
        .route(
            "/v1/nodes/{name}/functions",
            get(async |State(admin): State<Admin>, Path(name): Named| {
                answer(admin.cloud.node_functions(&name).await)
            }),
        )
        .route("/v1/nodes/{name}/deploys", get(async || done(Ok(()))))
        .route("/v1/nodes/{name}/mode", put(set_mode))
        .route(
            "/v1/nodes/{name}/properties",
            get(async |State(admin): State<Admin>, Path(name): Named| {
                answer(admin.cloud.node_properties(&name).await)
            })
            .put(async |State(admin): State<Admin>, Path(name): Named, body: Body| {
                answer(admin.cloud.set_node_properties(&name, &read(body, MOST).await?).await)
            }),
        )
}

async fn create_node(State(admin): State<Admin>, body: Body) -> Answer {
    answer(admin.cloud.create_node(parse::<NodeInput>(body).await?).await)
}

async fn update_node(State(admin): State<Admin>, Path(name): Named, body: Body) -> Answer {
    answer(admin.cloud.update_node(&name, parse::<NodeInput>(body).await?).await)
}

#[derive(Deserialize)]
struct Batch {
    batch: Option<String>,
}

async fn read_nodes(State(admin): State<Admin>, Query(query): Query<Batch>, body: Body) -> Answer {
    #[derive(Deserialize)]
    struct Names {
        names: Vec<String>,
    }
    if query.batch.is_none() {
        return Err(ServiceError::invalid("PUT on all nodes reads several: add the query batch"));
    }
    let names: Names = parse(body).await?;
    answer(admin.cloud.nodes_by_name(&names.names).await)
}

async fn set_mode(State(admin): State<Admin>, Path(name): Named, body: Body) -> Answer {
    #[derive(Deserialize)]
    struct Mode {
        #[serde(default)]
        mode: String,
    }
    let mode: Mode = parse(body).await?;
    done(admin.cloud.set_mode(&name, &mode.mode).await)
}

#[derive(Deserialize)]
struct Base {
    base: Option<String>,
}

fn resources() -> Router<Admin> {
    Router::new()
        .route(
            "/v1/apps",
            post(async |State(admin): State<Admin>, Query(query): Query<Base>, body: Body| {
                answer(admin.cloud.create_app(query.base.as_deref(), &read(body, MOST).await?).await)
            })
            .get(async |State(admin): State<Admin>, Query(options): Query<ListOptions>| {
                answer(admin.cloud.apps(options).await)
            }),
        )
        .route(
            "/v1/apps/{name}",
            get(async |State(admin): State<Admin>, Path(name): Named| answer(admin.cloud.app(&name).await))
                .put(async |State(admin): State<Admin>, Path(name): Named, body: Body| {
                    answer(admin.cloud.update_app(&name, &read(body, MOST).await?).await)
                })
                .delete(async |State(admin): State<Admin>, Path(name): Named| {
                    done(admin.cloud.delete_app(&name).await)
                }),
        )
        .route(
            "/v1/configs",
            post(async |State(admin): State<Admin>, body: Body| {
                answer(admin.cloud.create_config(&read(body, MOST).await?).await)
            })
            .get(async |State(admin): State<Admin>, Query(options): Query<ListOptions>| {
                answer(admin.cloud.configs(options).await)
            }),
        )
        .route(
            "/v1/configs/{name}",
            get(async |State(admin): State<Admin>, Path(name): Named| {
                answer(admin.cloud.config(&name).await)
            })
            .put(async |State(admin): State<Admin>, Path(name): Named, body: Body| {
                answer(admin.cloud.update_config(&name, &read(body, MOST).await?).await)
            })
            .delete(async |State(admin): State<Admin>, Path(name): Named| {
                done(admin.cloud.delete_config(&name).await)
            }),
        )
        .route(
            "/v1/configs/{name}/apps",
            get(async |State(admin): State<Admin>, Path(name): Named| {
                answer(admin.cloud.users_view(true, &name).await)
            }),
        )
}

fn secrets(path: &str, of: SecretType) -> Router<Admin> {
    Router::new()
        .route(
            path,
            post(async move |State(admin): State<Admin>, body: Body| {
                answer(admin.cloud.create_secret(of, &read(body, MOST).await?).await)
            })
            .get(async move |State(admin): State<Admin>, Query(options): Query<ListOptions>| {
                answer(admin.cloud.secrets(of, options).await)
            }),
        )
        .route(
            &format!("{path}/{{name}}"),
            get(async move |State(admin): State<Admin>, Path(name): Named| {
                answer(admin.cloud.secret(of, &name).await)
            })
            .put(async move |State(admin): State<Admin>, Path(name): Named, body: Body| {
                answer(admin.cloud.update_secret(of, &name, &read(body, MOST).await?).await)
            })
            .delete(async move |State(admin): State<Admin>, Path(name): Named| {
                done(admin.cloud.delete_secret(of, &name).await)
            }),
        )
        .route(
            &format!("{path}/{{name}}/apps"),
            get(async move |State(admin): State<Admin>, Path(name): Named| {
                answer(admin.cloud.users_view(false, &name).await)
            }),
        )
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ModuleQuery {
    #[serde(rename = "type")]
    module_type: String,
    name: String,
    page_no: usize,
    page_size: usize,
}

fn modules() -> Router<Admin> {
    Router::new()
        .route(
            "/v1/modules",
            get(async |State(admin): State<Admin>, Query(query): Query<ModuleQuery>| {
                answer(
                    admin
                        .cloud
                        .modules(&query.module_type, &query.name, query.page_no, query.page_size)
                        .await,
                )
            })
            .post(async |State(admin): State<Admin>, body: Body| {
                answer(admin.cloud.put_module(&read(body, MOST).await?).await)
            }),
        )
        .route(
            "/v1/modules/{name}",
            get(async |State(admin): State<Admin>, Path(name): Named| {
                answer(admin.cloud.module_versions(&name).await)
            })
            .delete(async |State(admin): State<Admin>, Path(name): Named| {
                done(admin.cloud.delete_module(&name, None).await)
            }),
        )
        .route(
            "/v1/modules/{name}/latest",
            get(async |State(admin): State<Admin>, Path(name): Named| {
                answer(admin.cloud.module(&name, None).await)
            }),
        )
        .route(
            "/v1/modules/{name}/version/{version}",
            get(async |State(admin): State<Admin>, Path((name, version)): Path<(String, String)>| {
                answer(admin.cloud.module(&name, Some(&version)).await)
            })
            .put(async |State(admin): State<Admin>, body: Body| {
                answer(admin.cloud.put_module(&read(body, MOST).await?).await)
            })
            .delete(
                async |State(admin): State<Admin>, Path((name, version)): Path<(String, String)>| {
                    done(admin.cloud.delete_module(&name, Some(&version)).await)
                },
            ),
        )
        .route(
            "/v1/properties/{name}",
            get(async |State(admin): State<Admin>, Path(name): Named| {
                answer(admin.cloud.property(&name).await)
            })
            .put(set_property),
        )
        .route(
            "/v1/sysconfig/baetyl_version/latest",
            get(async |State(admin): State<Admin>| {
                let module = admin.cloud.module("baetyl", None).await?;
                Ok::<_, ServiceError>(Json(
                    json!({ "type": "baetyl_version", "key": "latest", "value": module["version"] }),
                ))
            }),
        )
        .route(
            "/v1/namespace",
            get(async |State(admin): State<Admin>| answer(admin.cloud.namespace_view().await))
                .post(async |State(admin): State<Admin>| answer(admin.cloud.make_namespace().await)),
        )
        .route("/v1/quotas", get(async || Json(json!({}))))
}

async fn set_property(State(admin): State<Admin>, Path(name): Named, body: Body) -> Answer {
    #[derive(Deserialize)]
    struct Input {
        value: String,
    }
    let input: Input = parse(body).await?;
    answer(admin.cloud.set_property(&name, &input.value).await)
}

fn answer(result: Result<Value, ServiceError>) -> Answer {
    result.map(Json)
}

async fn parse<T: serde::de::DeserializeOwned>(body: Body) -> Result<T, ServiceError> {
    let bytes = read(body, MOST).await?;
    serde_json::from_slice(&bytes).map_err(|error| ServiceError::Body { reason: error.to_string() })
}
