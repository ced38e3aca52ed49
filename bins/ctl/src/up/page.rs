//! The first application: a page with the node's name, the application's version and a text from its
//! configuration. The page itself is an object of the cloud; text and page are read for each request.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Arguments: the page's file, the text's file, the address to listen on. Files are relative to the
/// working directory, as are the mounts of a native instance.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    let [page, text, address] = arguments else {
        return fail("page wants three arguments: page file, text file, address");
    };
    let (page, text) = (PathBuf::from(page), PathBuf::from(text));
    let address = address.to_string_lossy().into_owned();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return fail("page cannot start its runtime");
    };
    match runtime.block_on(serve(page, text, &address)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("page cannot listen on {address}: {error}")),
    }
}

#[expect(clippy::print_stderr, reason = "goes to the instance's log")]
fn fail(reason: &str) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::FAILURE
}

async fn serve(page: PathBuf, text: PathBuf, address: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (page, text) = (page.clone(), text.clone());
        let service = service_fn(move |_| {
            let answer = render(&page, &text);
            async move { answer }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        let served = http.keep_alive(false).serve_connection(TokioIo::new(stream), service);
        // One caller at a time is enough for a page; a slow one is cut off.
        drop(tokio::time::timeout(std::time::Duration::from_secs(5), served).await);
    }
}

fn render(page: &std::path::Path, text: &std::path::Path) -> std::io::Result<hyper::Response<Full<Bytes>>> {
    let html = std::fs::read_to_string(page)?;
    let text = std::fs::read_to_string(text)?;
    let html = html
        .replace("@NODE@", &escape(&variable("BAETYL_NODE_NAME")))
        .replace("@VERSION@", &escape(&variable("BAETYL_APP_VERSION")))
        .replace("@TEXT@", &escape(text.trim_end()));
    let mut response = hyper::Response::new(Full::new(Bytes::from(html)));
    let kind = hyper::header::HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    Ok(response)
}

#[expect(clippy::disallowed_methods, reason = "this is a program of its own; its environment is its input")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
