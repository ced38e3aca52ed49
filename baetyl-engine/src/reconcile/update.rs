//! The state of one application's update (design.md 3): what of it is durable, and what only this run knows.
//!
//! Pure. Knows neither the store nor engines.

use std::time::Duration;

use baetyl_core_lib::spec::application::ResourceRef;
use serde::{Deserialize, Serialize};

/// Where an application's update is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Documents, objects and images are fetched. Never stored: nothing that runs is touched by it.
    #[default]
    Preparing,
    /// The target is being made to run and watched until it is ready.
    Applying,
    /// The last good version is the one that is wanted.
    Good,
    /// A version failed, and is not tried again until another one is wanted or its delay is over.
    Waiting,
    /// The target goes, the last good version is made to run again.
    Reverting,
}

/// One version and what must be known of it without its documents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The version.
    pub version: String,
    /// The engine that runs it.
    pub engine: String,
    /// Ports of the host that it takes for itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Whether it asks that no other version of it runs beside it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// How long it may take to become ready, in seconds, where the application says so itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// Its services, for their certificates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// The configurations that it names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<ResourceRef>,
    /// The secrets that it names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<ResourceRef>,
    /// What tells the certificates that it was given from renewed ones.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certs: String,
}

impl Facts {
    /// Whether two versions of one application cannot run at once.
    pub fn excludes(&self, other: &Self) -> bool {
        self.alone || other.alone || self.ports.iter().any(|port| other.ports.contains(port))
    }
}

/// A version that did not become ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// The version.
    pub facts: Facts,
    /// How often in a row.
    pub count: u32,
    /// Why, in words.
    pub reason: String,
}

/// What is durable of an application's update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Where it is.
    pub phase: Phase,
    /// The last version that became ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub good: Option<Facts>,
    /// The version that is, or was last, made to run in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Facts>,
    /// The version that failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failure>,
}

impl Record {
    /// The version that runs as far as is known: the last good one, else the one on its way.
    pub fn current(&self) -> Option<&Facts> {
        self.good.as_ref().or(self.target.as_ref())
    }

    /// Whether this role has made nothing of this application.
    pub const fn is_empty(&self) -> bool {
        self.good.is_none() && self.target.is_none()
    }

    /// What is known of a version, where anything is.
    pub fn facts(&self, version: &str) -> Option<&Facts> {
        [&self.good, &self.target].into_iter().flatten().find(|facts| facts.version == version)
    }

    pub(crate) fn is_good(&self, version: &str) -> bool {
        self.good.as_ref().is_some_and(|good| good.version == version)
    }

    pub(crate) fn is_target(&self, version: &str) -> bool {
        self.target.as_ref().is_some_and(|target| target.version == version)
    }

    /// The intent to make a version run.
    #[must_use]
    pub fn applying(&self, target: Facts) -> Self {
        Self { phase: Phase::Applying, target: Some(target), ..self.clone() }
    }

    /// The target became ready, or the good version is the one that is wanted again.
    #[must_use]
    pub fn committed(&self, version: &str) -> Self {
        Self { phase: Phase::Good, good: self.facts(version).cloned(), target: None, failed: None }
    }

    /// The intent to go back; with the reason when the target failed and was not merely given up.
    #[must_use]
    pub fn reverting(&self, reason: Option<String>) -> Self {
        Self { phase: Phase::Reverting, failed: self.failure(reason), ..self.clone() }
    }

    /// The good version runs again.
    #[must_use]
    pub fn reverted(&self) -> Self {
        let phase = if self.failed.is_some() { Phase::Waiting } else { Phase::Good };
        Self { phase, target: None, ..self.clone() }
    }

    /// The first version failed: it stays, for want of anything to go back to.
    #[must_use]
    pub fn stuck(&self, reason: String) -> Self {
        Self { phase: Phase::Waiting, failed: self.failure(Some(reason)), ..self.clone() }
    }

    fn failure(&self, reason: Option<String>) -> Option<Failure> {
        let facts = self.target.clone()?;
        let before = self.failed.as_ref().filter(|failed| failed.facts.version == facts.version);
        let count = before.map_or(0, |failed| failed.count).saturating_add(1);
        Some(Failure { facts, count, reason: reason? })
    }
}

/// What an application's task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Fetches and prepares.
    Prepare,
    /// Makes the target run.
    Apply,
    /// Makes the good version whole again.
    Repair,
    /// Puts renewed certificates in place.
    Renew,
    /// Goes back to the good version.
    Revert,
    /// Removes versions.
    Remove,
}

/// What is being done to an application. Never two things at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    /// What.
    pub work: Work,
    /// The version that it is about.
    pub version: String,
    /// When it has taken too long; fetching may take any time.
    pub until: Option<Duration>,
    /// Whether it was told to end.
    pub cancelled: bool,
}

/// What only this run knows of an application: nothing of it is missed after a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// The version that the fields below are about.
    pub version: String,
    /// What is being done.
    pub busy: Option<Busy>,
    /// The version is prepared; what was learnt of it.
    pub prepared: Option<Facts>,
    /// What was learnt of a version that could not be prepared.
    pub learnt: Option<Facts>,
    /// The target was applied in this run.
    pub applied: bool,
    /// The good version was made to run again.
    pub reverted: bool,
    /// By when the target must be ready.
    pub deadline: Option<Duration>,
    /// What went wrong in a way that trying again does not mend.
    pub fatal: Option<String>,
    /// It could not be prepared, and will not be before somebody changes something.
    pub unfit: bool,
    /// What is tried again, and when.
    pub retry_at: Option<Duration>,
    /// How often in a row it went wrong.
    pub tries: u32,
    /// When the good version may be made whole again, and how often in a row it was.
    pub repair_at: Option<Duration>,
    /// How often in a row the good version was made whole.
    pub repairs: u32,
    /// What went wrong last, in words.
    pub reason: String,
}

impl Live {
    /// Begins anew for another version; what is being done goes on.
    pub fn turn_to(&mut self, version: &str) {
        if self.version != version {
            *self = Self {
                version: version.to_owned(),
                busy: self.busy.take(),
                repair_at: self.repair_at,
                repairs: self.repairs,
                ..Self::default()
            };
        }
    }
}
