//! What every implementation of a trait must do, ours or a vendor's, as suites to run.
//!
//! A suite makes a fixture for each case, and panics at the first sentence of the trait's contract that is
//! not kept. Cases that an implementation cannot keep are named in a list, which belongs into its tests.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

pub mod engine;
pub mod link;
pub mod store;

/// Runs each case with a fixture of its own, except those that are skipped.
macro_rules! cases {
    ($make:expr, $skipped:expr, $($case:ident)*) => {
        let names = [$(stringify!($case)),*];
        for skipped in $skipped {
            assert!(names.contains(skipped), "there is no case {skipped:?} to skip");
        }
        $(
            if !$skipped.contains(&stringify!($case)) {
                tracing::info!(case = stringify!($case), "case begins");
                Box::pin($case(&$make())).await;
            }
        )*
    };
}
use cases;

/// The value, or a panic that says what was tried.
#[track_caller]
fn ok<T, E: Debug>(result: Result<T, E>, tried: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{tried}: {error:?}"),
    }
}

/// Begins a future and drops it, unless it is done at once.
async fn begin_and_drop<T>(future: impl Future<Output = T> + Send) -> Option<T> {
    tokio::time::timeout(Duration::ZERO, future).await.ok()
}
