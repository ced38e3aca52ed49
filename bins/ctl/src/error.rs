//! What can go wrong, each as one clear sentence.

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CtlError {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// A file given by the user is wrong.
    #[error("{0}")]
    Input(String),
    /// The cloud cannot be reached.
    #[error(
        "no cloud answers at {server}: start one with `baetylctl up`, or name another with --server ({reason})"
    )]
    NoCloud {
        /// Where it was looked for.
        server: String,
        /// What happened.
        reason: String,
    },
    /// The cloud said no.
    #[error("the cloud refused: {message} ({code})")]
    Refused {
        /// Its HTTP status.
        status: u16,
        /// Its code.
        code: String,
        /// Its words.
        message: String,
    },
    /// Waited in vain.
    #[error("{0}")]
    Timeout(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl CtlError {
    /// The exit code (sysexits.h).
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Input(_) => 65,
            Self::NoCloud { .. } => 69,
            Self::Timeout(_) => 75,
            Self::Refused { .. } | Self::Failed(_) => 1,
        }
    }
}
