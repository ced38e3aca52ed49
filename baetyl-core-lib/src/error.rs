//! What all errors share: the boxed source, and a whole chain on one line.

use std::error::Error;
use std::fmt;

/// An error of a library below us, kept as the source of one of ours.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// Prints an error and all its sources on one line.
///
/// ```
/// use baetyl_core_lib::error::Chain;
/// let error = std::io::Error::other("disk is gone");
/// assert_eq!(Chain(&error).to_string(), "disk is gone");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
