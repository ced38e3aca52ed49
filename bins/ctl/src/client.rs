//! The cloud's REST API.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::error::CtlError;

/// A cloud.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: String,
}

impl Client {
    /// The cloud at this admin address.
    pub(crate) fn new(server: &str) -> Result<Self, CtlError> {
        let server = server.trim_end_matches('/');
        let server = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        let tls =
            rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .map_err(|error| CtlError::Failed(format!("TLS cannot be set up: {error}")))?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| CtlError::Usage(format!("--server {server}: {error}")))?;
        Ok(Self { http, server })
    }

    /// GET; `None` when there is no such thing.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Value>, CtlError> {
        match self.send(Method::GET, path, None).await {
            Ok(value) => Ok(Some(value)),
            Err(CtlError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, CtlError> {
        self.send(Method::GET, path, None).await
    }

    /// POST.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, CtlError> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// PUT.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Value, CtlError> {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &str) -> Result<Value, CtlError> {
        self.send(Method::DELETE, path, None).await
    }

    /// PUT of bytes.
    #[cfg(feature = "up")]
    pub(crate) async fn put_bytes(&self, path: &str, bytes: Vec<u8>) -> Result<Value, CtlError> {
        let request = self.http.put(format!("{}{path}", self.server)).timeout(Duration::from_secs(300));
        self.answer(request.body(bytes)).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, CtlError> {
        let mut request = self.http.request(method, format!("{}{path}", self.server));
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, CtlError> {
        let unreachable = |error: reqwest::Error| {
            let mut reason = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                reason = inner.to_string();
                source = inner.source();
            }
            CtlError::NoCloud { server: self.server.clone(), reason }
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let text = response.text().await.map_err(unreachable)?;
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status == StatusCode::OK {
            return if body.is_null() && text.trim() != "null" {
                Err(CtlError::Failed(format!("{} does not answer like a Baetyl cloud", self.server)))
            } else {
                Ok(body)
            };
        }
        let field = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (code, mut message) = (field("code"), field("message"));
        if code.is_empty() {
            message = format!("{} answered {status} and does not look like a Baetyl cloud", self.server);
        }
        Err(CtlError::Refused { status: status.as_u16(), code, message })
    }
}
