//! What an engine reads of an application: its spec, and its volumes resolved to files.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::path::PathBuf;

use crate::spec::{AppInfo, AppSpec};

/// Whose application it is. Each scope has its own namespace and is never touched by the other's passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The system's own.
    System,
    /// The user's.
    User,
}

impl Scope {
    /// Both scopes, in the order of a pass.
    pub const ALL: [Self; 2] = [Self::System, Self::User];

    /// The namespace that its applications run in (edge.md 0).
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::System => "baetyl-edge-system",
            Self::User => "baetyl-edge",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::User => "user",
        })
    }
}

/// Which part of the node a process is (edge.md 0). Each has a shadow, a store and folders of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Runs everything but itself.
    Core,
    /// Runs core, and nothing else.
    Init,
    /// Runs everything: a node in one process.
    Whole,
}

impl Role {
    /// What reports say that they come from, and what `BAETYL_SERVICE_NAME` holds.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Core | Self::Whole => "baetyl-core",
            Self::Init => "baetyl-init",
        }
    }
}

/// All that an engine reads of an application.
///
/// Name and version are valid names: an engine may use them in paths, labels and addresses. Nothing here
/// changes while the engine holds it.
pub trait Application: Debug + Send + Sync {
    /// Its spec, with the five variables of edge.md 5.10 at the end of each service's environment.
    fn spec(&self) -> &AppSpec;

    /// What lies behind a volume of the spec; `None` when the spec has no such volume.
    fn volume(&self, name: &str) -> Option<&VolumeContent>;

    /// Name and version.
    fn info(&self) -> AppInfo {
        self.spec().info()
    }
}

/// What lies behind a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeContent {
    /// A path of the host, absolute.
    HostPath(PathBuf),
    /// Files of a configuration or secret, and the host folder of its objects where it has any.
    Files {
        /// File name (a single path segment) and content.
        files: BTreeMap<String, Content>,
        /// The host folder that holds the configuration's unpacked objects, complete.
        objects: Option<PathBuf>,
        /// Whether nobody else may read the files.
        secret: bool,
    },
    /// An empty folder that lives as long as the instance.
    EmptyDir,
    /// A registry's login, for pulling images; not mounted.
    Registry {
        /// The registry's address.
        address: String,
        /// The user.
        username: String,
        /// The password.
        password: Content,
    },
}

/// The content of a file; never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

/// The stock [`Application`]: a spec from the cloud with everything that it names at hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// The spec.
    pub spec: AppSpec,
    /// Its volumes by name.
    pub volumes: BTreeMap<String, VolumeContent>,
}

impl Application for Deployment {
    fn spec(&self) -> &AppSpec {
        &self.spec
    }

    fn volume(&self, name: &str) -> Option<&VolumeContent> {
        self.volumes.get(name)
    }
}
