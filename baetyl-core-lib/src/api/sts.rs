//! Credentials for the cloud's object storage, asked from the cloud and kept while they hold.

use std::sync::PoisonError;
use std::time::Duration;

use super::{Context, Response};
use crate::error::Chain;
use crate::spec::{Kind, Message, STS_KIND, StsRequest, StsResponse};

/// The only storage that the original knows.
const MINIO: &str = "minio";
/// How long credentials are to hold: 12 hours in nanoseconds, whatever was asked.
const LIFE_NANOS: i64 = 12 * 3600 * 1_000_000_000;
/// Credentials that hold this long are given out again.
const LEFT: Duration = Duration::from_secs(3600);

pub(super) async fn credentials(context: &Context, body: &[u8]) -> Response {
    let request: StsRequest = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => return Response::unknown(&format_args!("request is not valid: {error}")),
    };
    if !["", MINIO].contains(&request.sts_type.as_str()) {
        return Response::unknown(&format_args!("stsType {:?} must be {MINIO:?}", request.sts_type));
    }
    if let Some(kept) = kept(context) {
        return Response::json(&kept);
    }
    match ask(context).await {
        Ok(fresh) => {
            let response = Response::json(&fresh);
            *context.credentials.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
            response
        }
        Err(refusal) => refusal,
    }
}

fn kept(context: &Context) -> Option<StsResponse> {
    let enough = context.clock.now().saturating_add(LEFT);
    let kept = context.credentials.lock().unwrap_or_else(PoisonError::into_inner);
    kept.clone().filter(|kept| kept.expiration >= enough)
}

async fn ask(context: &Context) -> Result<StsResponse, Response> {
    let link = context.link.as_ref().filter(|link| link.duplex().is_some()).ok_or_else(|| {
        Response::unknown(&"the link to the cloud cannot ask for storage credentials: use wslink")
    })?;
    let content = StsRequest { sts_type: MINIO.to_owned(), expired_time: LIFE_NANOS };
    let message = Message::new(Kind::from(STS_KIND)).with_meta("cmd", MINIO).with_content(&content);
    let message = message.map_err(|error| Response::unknown(&Chain(&error)))?;
    let answer = link.request(message).await.map_err(|error| Response::unknown(&Chain(&error)))?;
    if answer.kind == Kind::Error {
        return Err(Response::unknown(&format_args!("cloud refused: {}", answer.content.get())));
    }
    answer
        .decode()
        .map_err(|error| Response::unknown(&format_args!("answer of the cloud is not valid: {error}")))
}
