//! The files of objects: streamed in with their digests, served by digest with ranges.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use baetyl_core_lib::spec::hex;
use futures_util::StreamExt as _;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use md5::Digest as _;
use tokio::fs;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::io::ReaderStream;

use crate::error::ServiceError;
use crate::service::ObjectInfo;

/// The folder of files, each named by its SHA-256.
#[derive(Debug, Clone)]
pub(crate) struct ObjectFiles {
    folder: PathBuf,
    most: u64,
    turn: Arc<Mutex<()>>,
}

/// A body that was taken in. Dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Received {
    part: Part,
    info: ObjectInfo,
}

/// An unfinished file.
#[derive(Debug)]
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // Gone already, where it was put in its place; else it must not eat room, also when the call was cut.
        drop(std::fs::remove_file(&self.0));
    }
}

fn unwritten(source: io::Error) -> ServiceError {
    ServiceError::internal("writing an object", source)
}

impl ObjectFiles {
    pub(crate) fn new(folder: PathBuf, most: u64) -> Self {
        Self { folder, most, turn: Arc::default() }
    }

    /// Removes what uploads that were cut off by a crash have left.
    pub(crate) async fn sweep(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder).await?;
        let mut entries = fs::read_dir(&self.folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                fs::remove_file(path).await?;
            }
        }
        Ok(())
    }

    /// Waits until nobody else puts a file in its place or removes one: what is written down of objects and
    /// what lies here must change together.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Takes a body in, durable but not in its place yet. `part` names the unfinished file.
    pub(crate) async fn receive(&self, body: Body, part: &str) -> Result<Received, ServiceError> {
        let part = Part(self.folder.join(format!(".{part}.part")));
        let mut file = fs::File::create(&part.0).await.map_err(unwritten)?;
        let mut sha256 = ring::digest::Context::new(&ring::digest::SHA256);
        let mut md5 = md5::Md5::new();
        let mut size = 0_u64;
        let mut stream = body.into_data_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| ServiceError::Body { reason: error.to_string() })?;
            size += chunk.len() as u64;
            if size > self.most {
                return Err(ServiceError::TooLarge {
                    limit: usize::try_from(self.most).unwrap_or(usize::MAX),
                });
            }
            sha256.update(&chunk);
            md5.update(&chunk);
            file.write_all(&chunk).await.map_err(unwritten)?;
        }
        file.sync_all().await.map_err(unwritten)?;
        let sha256 = hex::encode(sha256.finish().as_ref());
        let md5 = hex::encode(&md5.finalize());
        Ok(Received { part, info: ObjectInfo { md5, sha256, size, ..ObjectInfo::default() } })
    }

    /// Puts a file in its place: durable when this returns.
    pub(crate) async fn keep(&self, received: Received) -> Result<ObjectInfo, ServiceError> {
        let Received { part, info } = received;
        fs::rename(&part.0, self.folder.join(&info.sha256)).await.map_err(unwritten)?;
        fs::File::open(&self.folder).await.map_err(unwritten)?.sync_all().await.map_err(unwritten)?;
        Ok(info)
    }

    /// Removes a file. Being gone already is fine.
    pub(crate) async fn remove(&self, sha256: &str) {
        match fs::remove_file(self.folder.join(sha256)).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(sha256, error = %error, "object not removed"),
        }
    }

    /// Serves a file, or the range of it that was asked for.
    pub(crate) async fn serve(&self, sha256: &str, headers: &HeaderMap) -> Result<Response, ServiceError> {
        let missing = || ServiceError::not_found("object", sha256);
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let fail = |source: io::Error| ServiceError::internal("reading an object", source);
        let mut file = match fs::File::open(self.folder.join(sha256)).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(fail(error)),
        };
        let size = file.metadata().await.map_err(fail)?.len();
        let tag = format!("\"{sha256}\"");
        let is_tag =
            |name| headers.get(name).is_some_and(|value: &HeaderValue| value.as_bytes() == tag.as_bytes());
        let etag =
            HeaderValue::from_str(&tag).map_err(|error| ServiceError::internal("naming an object", error))?;
        if is_tag(IF_NONE_MATCH) {
            return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
        }
        let wanted = headers.get(RANGE).filter(|_| !headers.contains_key(IF_RANGE) || is_tag(IF_RANGE));
        let wanted = wanted.and_then(|value| value.to_str().ok()).and_then(|text| range(text, size));
        let (status, start, end) = match wanted {
            None => (StatusCode::OK, 0, size),
            Some(Some((start, end))) => (StatusCode::PARTIAL_CONTENT, start, end),
            Some(None) => {
                let all = [(CONTENT_RANGE, format!("bytes */{size}"))];
                return Ok((StatusCode::RANGE_NOT_SATISFIABLE, all).into_response());
            }
        };
        file.seek(io::SeekFrom::Start(start)).await.map_err(fail)?;
        let stream = ReaderStream::with_capacity(file.take(end - start), 64 * 1024);
        let mut response = (status, Body::from_stream(stream)).into_response();
        let headers = response.headers_mut();
        headers.insert(ETAG, etag);
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(end - start));
        if let (StatusCode::PARTIAL_CONTENT, Ok(value)) =
            (status, HeaderValue::from_str(&format!("bytes {start}-{}/{size}", end.saturating_sub(1))))
        {
            headers.insert(CONTENT_RANGE, value);
        }
        Ok(response)
    }
}

/// One range of bytes, end exclusive: `None` when the text is none that we serve, `Some(None)` when it lies
/// outside.
fn range(text: &str, size: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let tail: u64 = last.parse().ok()?;
        return Some((tail > 0 && size > 0).then(|| (size.saturating_sub(tail), size)));
    }
    let first: u64 = first.parse().ok()?;
    let end = if last.is_empty() { size } else { last.parse::<u64>().ok()?.saturating_add(1).min(size) };
    Some((first < end).then_some((first, end)))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::{ObjectFiles, range};

    #[tokio::test]
    async fn what_is_not_kept_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".crash.part"), "half").unwrap();
        let files = ObjectFiles::new(folder.path().to_owned(), 8);
        let names = || {
            let entries = std::fs::read_dir(folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        files.sweep().await.unwrap();
        assert!(files.receive(Body::from("too large"), "a").await.is_err());
        drop(files.receive(Body::from("dropped"), "b").await.unwrap());
        assert_eq!(names(), Vec::<String>::new());
        let kept = files.keep(files.receive(Body::from("kept"), "c").await.unwrap()).await.unwrap();
        assert_eq!(names(), [kept.sha256]);
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        assert_eq!(range("bytes=0-4", 10), Some(Some((0, 5))));
        assert_eq!(range("bytes=5-", 10), Some(Some((5, 10))));
        assert_eq!(range("bytes=5-99", 10), Some(Some((5, 10))));
        assert_eq!(range("bytes=-3", 10), Some(Some((7, 10))));
        assert_eq!(range("bytes=10-", 10), Some(None));
        assert_eq!(range("bytes=a-", 10), None);
        assert_eq!(range("lines=1-2", 10), None);
    }
}
