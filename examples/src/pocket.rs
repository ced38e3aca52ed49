//! A cloud in memory: what one node should run, and answers to the two requests that a node makes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use baetyl_core_lib::error::BoxError;
use baetyl_core_lib::link::{Link, LinkError, LinkState};
use baetyl_core_lib::shadow::diff::{Reported, delta};
use baetyl_core_lib::spec::resource::ResourceValue;
use baetyl_core_lib::spec::{
    AppInfo, AppSpec, Delta, Desire, DesireRequest, DesireResponse, Kind, Message, Report, Status,
};
use serde_json::value::to_raw_value;

/// A cloud in memory, for one node. Clones are the same cloud.
#[derive(Debug, Clone, Default)]
pub struct PocketCloud {
    inner: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    desire: BTreeMap<String, AppSpec>,
    last: Option<Report>,
    at_rest: bool,
}

impl PocketCloud {
    /// Wants this application on the node, in place of any other version of it.
    pub fn desire(&self, app: AppSpec) {
        let mut state = self.lock();
        state.at_rest = false;
        state.desire.insert(app.name.clone(), app);
    }

    /// The last report, if the node runs just what is desired and all of that is ready.
    pub fn at_rest(&self) -> Option<Report> {
        let state = self.lock();
        state.last.clone().filter(|_| state.at_rest)
    }

    /// Why an application does not run as desired, as the node reported it last.
    pub fn cause(&self, app: &str) -> Option<String> {
        let state = self.lock();
        let stats = state.last.as_ref()?.appstats.value()?;
        stats
            .iter()
            .find(|stats| stats.name == app && !stats.cause.is_empty())
            .map(|stats| stats.cause.clone())
    }

    /// Answers a request.
    ///
    /// # Errors
    /// When it is none that a node makes.
    pub fn answer(&self, request: &Message) -> Result<Message, BoxError> {
        match request.kind {
            Kind::Report => Ok(Message::new(Kind::Report).with_content(&self.take(request.decode()?))?),
            Kind::Desire => Ok(Message::new(Kind::Desire).with_content(&self.give(request.decode()?)?)?),
            _ => Err(format!("this cloud has no answer to {}", request.kind).into()),
        }
    }

    /// Takes a report; gives what turns its lists into the desire.
    fn take(&self, report: Report) -> Delta {
        let mut state = self.lock();
        let apps = state.desire.values().map(AppSpec::info).collect();
        let desire = Desire { apps: Some(apps), sysapps: Some(Vec::new()), ..Desire::default() };
        let delta = delta(&desire, &Reported::from(&report));
        state.at_rest = delta == Delta::default() && state.desire.values().all(|app| runs(&report, app));
        state.last = Some(report);
        delta
    }

    /// Gives the documents that are asked for; `null` for one that is not here.
    fn give(&self, request: DesireRequest) -> serde_json::Result<DesireResponse> {
        let state = self.lock();
        let value = |info: baetyl_core_lib::spec::ResourceInfo| {
            let wanted = AppInfo::new(&info.name, &info.version);
            let app = state.desire.get(&info.name).filter(|app| app.info() == wanted);
            let value = to_raw_value(&app)?;
            Ok(ResourceValue { kind: info.kind, name: info.name, version: info.version, value })
        };
        let values = request.infos.into_iter().map(value).collect::<serde_json::Result<_>>()?;
        Ok(DesireResponse { values: Some(values) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this version runs and is ready: until then the node gives a cause.
fn runs(report: &Report, app: &AppSpec) -> bool {
    report.appstats.value().into_iter().flatten().any(|stats| {
        (&stats.name, &stats.version) == (&app.name, &app.version)
            && stats.status == Status::Running
            && stats.cause.is_empty()
    })
}

/// The shortest link there is: a call.
#[derive(Debug, Clone)]
pub struct PocketLink(pub PocketCloud);

#[async_trait]
impl Link for PocketLink {
    async fn request(&self, message: Message) -> Result<Message, LinkError> {
        self.0.answer(&message).map_err(|error| LinkError::Invalid { reason: error.to_string() })
    }

    fn state(&self) -> LinkState {
        LinkState::Succeeded
    }
}
