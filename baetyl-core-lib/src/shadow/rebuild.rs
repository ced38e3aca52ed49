//! From an answer to the whole desire (design.md 1). Pure.

use crate::spec::{AppInfo, Delta, Desire, Report, Section};

/// The sections of a report as they were sent; `None` for one that the report did not hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// The user's applications as they were sent.
    pub apps: Option<Vec<AppInfo>>,
    /// The system's applications as they were sent.
    pub sysapps: Option<Vec<AppInfo>>,
}

impl From<&Report> for Sent {
    fn from(report: &Report) -> Self {
        Self { apps: report.apps.value().cloned(), sysapps: report.sysapps.value().cloned() }
    }
}

/// The whole desire that follows from the answer to a report, given that very report.
///
/// A section that the answer holds replaces the stored one. One that the answer lacks equals what was sent,
/// because the cloud compares with that. `null`, and a section in neither report nor answer, say nothing.
///
/// ```
/// use baetyl_core_lib::shadow::rebuild::{Sent, rebuild};
/// use baetyl_core_lib::spec::{AppInfo, Delta, Desire};
///
/// // "{}" is news too: what was sent is what is desired, even when something else was pending.
/// let pending = Desire { apps: Some(vec![AppInfo::new("web", "2")]), ..Desire::default() };
/// let sent = Sent { apps: Some(vec![AppInfo::new("web", "1")]), sysapps: None };
/// assert_eq!(rebuild(&pending, &sent, &Delta::default()).apps, sent.apps);
/// ```
#[must_use]
pub fn rebuild(stored: &Desire, sent: &Sent, answer: &Delta) -> Desire {
    Desire {
        apps: section(stored.apps.as_ref(), sent.apps.as_ref(), &answer.apps),
        sysapps: section(stored.sysapps.as_ref(), sent.sysapps.as_ref(), &answer.sysapps),
        nodeprops: answer.nodeprops.value().cloned(),
        extra: answer.extra.clone(),
    }
}

/// As [`rebuild`], for `baetyl-init`: the cloud compares the user's applications with the last report of
/// core's, so only the system's applications follow from the answer. All else stays as it is stored.
#[must_use]
pub fn rebuild_sysapps(stored: &Desire, sent: &Sent, answer: &Delta) -> Desire {
    Desire {
        sysapps: section(stored.sysapps.as_ref(), sent.sysapps.as_ref(), &answer.sysapps),
        ..stored.clone()
    }
}

fn section(
    stored: Option<&Vec<AppInfo>>,
    sent: Option<&Vec<AppInfo>>,
    answer: &Section<Vec<AppInfo>>,
) -> Option<Vec<AppInfo>> {
    match answer {
        Section::Is(list) => Some(list.clone()),
        Section::Null => stored.cloned(),
        Section::Absent => sent.or(stored).cloned(),
    }
}
