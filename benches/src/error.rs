//! Why a measurement did not come about.

use std::path::Path;

/// Why a measurement did not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// Something of the operating system failed.
    #[error("{what}: {source}")]
    Os {
        /// What was tried.
        what: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The cloud or the node did not do what the measurement needs.
    #[error("{0}")]
    Failed(String),
}

impl BenchError {
    /// What failed at a path.
    pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Os { what: path.display().to_string(), source }
    }

    /// What failed while something was tried.
    pub(crate) fn when(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Os { what: what.to_owned(), source }
    }
}
