//! A whole agent in one thread, for firmware: the runtime has no other, files are written in place, and the
//! engine drives the one lamp that the board has.
#![expect(clippy::print_stdout, reason = "an example tells what happens")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use baetyl::Agent;
use baetyl::core::application::{Application, Scope};
use baetyl::core::engine::{AppState, Engine, EngineError, EngineKind, InstanceState, Readiness};
use baetyl::core::error::BoxError;
use baetyl::core::spec::{AppInfo, AppSpec, Status};
use baetyl::core::task::Inline;
use baetyl::sync::cadence::Intervals;
use baetyl::sync::syncer::SyncConfig;
use baetyl_core_lib::testing::app;
use baetyl_examples::pocket::{PocketCloud, PocketLink};
use baetyl_examples::{outcome, until};
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    outcome(firmware().await)
}

async fn firmware() -> Result<(), BoxError> {
    let (cloud, board, folder) = (PocketCloud::default(), Board::default(), tempfile::tempdir()?);
    let every = Duration::from_millis(300);
    let agent = Agent::builder(folder.path(), "factory", "lamp-3")
        .blocking(Arc::new(Inline))
        .link(Arc::new(PocketLink(cloud.clone())))
        .engine(Arc::new(board.clone()))
        .sync(SyncConfig { intervals: Intervals { plain: every, push: every }, ..SyncConfig::default() })
        .build()
        .await?;
    let shutdown = CancellationToken::new();
    let (result, (), _) = tokio::join!(
        async {
            let result = change(&cloud, &board).await;
            shutdown.cancel();
            result
        },
        agent.run(shutdown.clone()),
        shutdown.run_until_cancelled(board.blink()),
    );
    println!("most threads at any time: {}", result?);
    Ok(())
}

/// Two versions one after the other. Gives the largest number of threads that was seen.
async fn change(cloud: &PocketCloud, board: &Board) -> Result<usize, BoxError> {
    let mut most = threads()?;
    for (version, millis) in [("1", "100"), ("2", "25")] {
        let lamp: AppSpec = app("lamp").version(version).service("blink").args(&[millis]).spec();
        cloud.desire(lamp.clone());
        until("the node to come to rest", || {
            most = most.max(threads().unwrap_or(usize::MAX));
            cloud.at_rest()
        })
        .await?;
        let blinks = board.lock().blinks;
        until("the lamp to blink", || (board.lock().blinks > blinks + 3).then_some(())).await?;
        println!("{} runs, the lamp blinks every {:?}", lamp.info(), board.period().unwrap_or_default());
    }
    if most == 1 { Ok(most) } else { Err(format!("there were {most} threads").into()) }
}

/// How many threads this process has, as the kernel says.
fn threads() -> Result<usize, BoxError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    Ok(line.ok_or("the kernel tells no number of threads")?.trim().parse()?)
}

/// The board and its engine. It forgets all at a power cut; the agent then applies what its store knows.
#[derive(Debug, Clone, Default)]
struct Board(Arc<Mutex<Pins>>);

#[derive(Debug, Default)]
struct Pins {
    programs: BTreeMap<(Scope, AppInfo), Program>,
    starts: u32,
    blinks: usize,
}

/// One version of the application: how often it blinks, and its run while it has one.
#[derive(Debug)]
struct Program {
    period: Duration,
    run: Option<u32>,
}

impl Board {
    /// Blinks for whatever runs. While two versions do, in an update, the faster one wins.
    async fn blink(&self) {
        loop {
            tokio::time::sleep(self.period().unwrap_or(Duration::from_millis(10))).await;
            if self.period().is_some() {
                self.lock().blinks += 1;
            }
        }
    }

    fn period(&self) -> Option<Duration> {
        let pins = self.lock();
        pins.programs.values().filter(|program| program.run.is_some()).map(|program| program.period).min()
    }

    fn lock(&self) -> MutexGuard<'_, Pins> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the one thing that an application may say: its period in milliseconds, as its service's argument.
fn period(app: &AppSpec) -> Result<Duration, EngineError> {
    let [service] = &app.services[..] else {
        return Err(EngineError::Invalid { reason: "this board runs one service: write one".to_owned() });
    };
    let millis = service.args.first().and_then(|word| word.parse().ok()).filter(|millis| *millis > 0);
    millis.map(Duration::from_millis).ok_or_else(|| EngineError::Invalid {
        reason: format!("service {:?}: its first argument is the period in milliseconds", service.name),
    })
}

#[async_trait]
impl Engine for Board {
    fn kind(&self) -> EngineKind {
        EngineKind::Custom("board")
    }

    async fn prepare(&self, _: Scope, app: &dyn Application) -> Result<(), EngineError> {
        period(app.spec()).map(drop)
    }

    async fn apply(&self, scope: Scope, app: &dyn Application) -> Result<(), EngineError> {
        let period = period(app.spec())?;
        let mut pins = self.lock();
        let next = pins.starts + 1;
        let program = pins.programs.entry((scope, app.info())).or_insert(Program { period, run: None });
        if program.run.is_none() {
            program.run = Some(next);
            pins.starts = next;
        }
        Ok(())
    }

    async fn stop(&self, scope: Scope, app: &AppInfo) -> Result<(), EngineError> {
        if let Some(program) = self.lock().programs.get_mut(&(scope, app.clone())) {
            program.run = None;
        }
        Ok(())
    }

    async fn remove(&self, scope: Scope, app: &AppInfo) -> Result<(), EngineError> {
        self.lock().programs.remove(&(scope, app.clone()));
        Ok(())
    }

    async fn inventory(&self, scope: Scope) -> Result<Vec<AppState>, EngineError> {
        let pins = self.lock();
        let programs = pins.programs.iter().filter(|((of, _), _)| *of == scope);
        Ok(programs
            .map(|((_, info), program)| {
                let mut state = InstanceState::new(format!("{}-{}", info.name, info.version), "blink");
                if let Some(run) = program.run {
                    (state.status, state.readiness) = (Status::Running, Readiness::Unprobed);
                    state.run = Some(run.to_string());
                }
                AppState { info: info.clone(), wanted: Some(1), instances: Ok(vec![state]) }
            })
            .collect())
    }
}
