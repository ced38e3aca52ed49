//! Exit codes that a supervisor can act on (sysexits.h).

use std::process::ExitCode;

/// Why a program ends before it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fatal {
    /// The command line is wrong; exit code 64.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong, and starting again does not help; exit code 78.
    #[error("{0}")]
    Config(String),
    /// Something outside is not as it should be, and starting again may help; exit code 75.
    #[error("{0}")]
    TryAgain(String),
    /// What was asked for is not there or said no; exit code 1.
    #[error("{0}")]
    Refused(String),
}

impl Fatal {
    /// The exit code.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Config(_) => 78,
            Self::TryAgain(_) => 75,
            Self::Refused(_) => 1,
        }
    }
}

/// Prints what went wrong and gives its exit code.
#[expect(clippy::print_stderr, reason = "the last word of a program goes to its terminal")]
pub fn code(result: Result<(), Fatal>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            eprintln!("error: {fatal}");
            ExitCode::from(fatal.code())
        }
    }
}
