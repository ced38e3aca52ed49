//! Says what is there: the applications' sections of the report, of which the reconciler is the only writer.

use baetyl_core_lib::error::Chain;
use baetyl_core_lib::spec::{AppInfo, Report, Status};

use super::Reconciler;
use super::book::App;
use super::execute::Key;
use super::filter::scopes;
use super::observe::Sighting;
use super::status::{Told, fill, progress, status};
use super::update::{Phase, Work};

impl Reconciler {
    /// Reports what is known, when it differs from what was reported last.
    pub(super) async fn tell(&mut self) {
        if !self.loaded {
            return;
        }
        let mut report = Report::default();
        let usage = self.usage.borrow_and_update().clone();
        for scope in scopes(self.config.role) {
            let Some(wanted) = self.book.wanted.get(scope) else { continue };
            let mine = self.book.apps.iter().filter(|((of, _), _)| of == scope);
            let mut told: Vec<Told> = mine.filter_map(|(key, app)| self.tell_app(key, app)).collect();
            for (info, reason) in &wanted.refused {
                refuse(&mut told, info, reason);
            }
            let mut strangers: Vec<Told> =
                self.book.strangers.get(scope).into_iter().flatten().map(stranger).collect();
            strangers.dedup_by(|later, first| later.info.name == first.info.name);
            told.extend(strangers);
            fill(&mut report, *scope, &wanted.order, told, &usage);
        }
        if report == self.told {
            return;
        }
        match self.shadow.merge_report(report.clone()).await {
            Ok(()) => self.told = report,
            Err(error) => tracing::warn!(error = %Chain(&error), "applications could not be reported"),
        }
    }

    fn tell_app(&self, key: &Key, app: &App) -> Option<Told> {
        let (scope, name) = key;
        let sighting = |version: &str| app.sightings.iter().find(|one| one.state.info.version == version);
        let current = app.record.current();
        let seen = match current {
            Some(facts) => sighting(&facts.version),
            None => app.sightings.first(),
        };
        // What an engine cannot be asked about is still taken to be there.
        let present = seen.is_some() || (app.blind.is_some() && current.is_some());
        let here = seen.map(|one| one.state.info.version.as_str()).or(current.map(|facts| &*facts.version));
        let version = here.unwrap_or(&app.live.version);
        if version.is_empty() {
            return None;
        }
        let cause = cause(app, self.executor.progress(&(*scope, name.clone())).map(|(c, p)| progress(&c, p)));
        let status = match seen {
            _ if app.blind.is_some() => Status::Unknown,
            Some(one) => status(&one.state),
            None if app.rejected.is_some() => Status::Unknown,
            None if app.live.fatal.is_some() || app.live.unfit || app.record.phase == Phase::Waiting => {
                Status::Failed
            }
            None => Status::Pending,
        };
        let instances = seen.and_then(|one| one.state.instances.as_ref().ok()).cloned().unwrap_or_default();
        Some(Told { info: AppInfo::new(name.as_str(), version), present, status, cause, instances })
    }
}

/// Why an application is not what it is to be, in words; empty when it is.
fn cause(app: &App, progress: Option<String>) -> String {
    let live = &app.live;
    let mut parts = Vec::new();
    let busy = live.busy.as_ref().map(|busy| (busy.work, busy.version.as_str()));
    match busy {
        Some((Work::Prepare, version)) => {
            let far = progress.map_or_else(String::new, |far| format!(": {far}"));
            parts.push(format!("version {version} is being prepared{far}"));
        }
        Some((Work::Revert, _)) => parts.push("going back to the last good version".to_owned()),
        Some((Work::Remove, _)) => parts.push("versions that are not wanted are being removed".to_owned()),
        _ if app.record.phase == Phase::Applying => {
            parts.push(format!("version {} is not ready yet", live.version));
        }
        _ => {}
    }
    if let Some(failed) = app.record.failed.as_ref() {
        let back = if app.record.good.is_some() { " and the last good one runs again" } else { "" };
        parts.push(format!("version {} failed{back}: {}", failed.facts.version, failed.reason));
    }
    parts.extend(app.blind.clone());
    parts.extend(app.rejected.clone());
    parts.extend(Some(live.reason.clone()).filter(|reason| !reason.is_empty()));
    if let Some(Sighting { state, .. }) = app.sightings.first()
        && let Err(error) = &state.instances
    {
        parts.push(Chain(error).to_string());
    }
    parts.join("; ")
}

/// Tells of an entry of the desire that cannot be tried, beside what runs under its name.
fn refuse(told: &mut Vec<Told>, info: &AppInfo, reason: &str) {
    if let Some(known) = told.iter_mut().find(|known| known.info.name == info.name) {
        let between = if known.cause.is_empty() { "" } else { "; " };
        known.cause = format!("{}{between}{reason}", known.cause);
    } else {
        let cause = reason.to_owned();
        told.push(Told { info: info.clone(), status: Status::Unknown, cause, ..Told::default() });
    }
}

fn stranger(sighting: &Sighting) -> Told {
    let state = &sighting.state;
    let (instances, cause) = match &state.instances {
        Ok(instances) => (instances.clone(), String::new()),
        Err(error) => (Vec::new(), Chain(error).to_string()),
    };
    Told { info: state.info.clone(), present: true, status: status(state), cause, instances }
}
