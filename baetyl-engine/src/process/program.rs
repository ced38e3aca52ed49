//! The supervisor of one instance: starts its program, starts it again, keeps its log small, ends it.
//!
//! It is a process of its own that no agent's end touches. One thread, one loop that sleeps until a
//! signal, output of the program, or the end of a delay; std, rustix and signal-hook only. It knows the
//! files beside it, nothing of applications, engines or the cloud.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use baetyl_core_lib::durable::OsDisk;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitOptions};
use rustix::time::{ClockId, clock_gettime};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use super::instance::{Next, next};
use super::lock::Lock;
use super::logs::RotatedLog;
use super::proc::{self, Proc};
use super::record::{self, Ended, FORMAT, InstanceSpec, Phase, Process, State};

/// The supervisor's spec, in the instance's folder.
pub(crate) const SPEC_FILE: &str = "service.json";

/// The spec cannot be read; starting again would not help.
const BAD_SPEC: u8 = 78;
/// Another supervisor looks after the instance, or the operating system refused something.
const TRY_AGAIN: u8 = 75;

/// So many bytes of a program's last line are reported.
const MOST_SAID: usize = 200;

/// Looks after the instance in `dir` until it is told to stop with TERM or INT.
///
/// Exit code 0 after a stop; 75 when the instance has a supervisor already or the operating system
/// refused something; 78 when its spec cannot be read.
pub fn run(dir: &Path) -> ExitCode {
    // The leader of a group cannot leave its session; whoever started it so, meant it so.
    rustix::process::setsid().ok();
    let Ok(Some(_lock)) = take_lock(dir) else { return ExitCode::from(TRY_AGAIN) };
    let Ok(spec) = read_spec(dir) else { return ExitCode::from(BAD_SPEC) };
    let supervised = Supervisor::prepare(dir, spec).and_then(Supervisor::supervise);
    supervised.map_or(ExitCode::from(TRY_AGAIN), |()| ExitCode::SUCCESS)
}

/// The lock that whoever started us took for us, else one of our own.
fn take_lock(dir: &Path) -> io::Result<Option<Lock>> {
    if let Some(lock) = Lock::adopt(io::stdin().as_fd().try_clone_to_owned()?, dir)? {
        return Ok(Some(lock));
    }
    Lock::take(dir)
}

fn read_spec(dir: &Path) -> io::Result<InstanceSpec> {
    record::decode(&fs::read(dir.join(SPEC_FILE))?)
}

/// What the supervisor waits for next.
#[derive(Debug, Clone, Copy)]
enum Wait {
    /// The end of the program.
    End,
    /// The moment to start it again.
    Start(Duration),
    /// The end of the program that was asked to end, at this moment at the latest.
    Stop(Duration),
    /// Nothing: the program ended and stays so.
    Told,
}

#[derive(Debug)]
struct Signals {
    wake: UnixStream,
    stop: Arc<AtomicBool>,
    reread: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Supervisor {
    dir: PathBuf,
    spec: InstanceSpec,
    log: RotatedLog,
    proc: Proc,
    signals: Signals,
    /// All that the program and its children write. The writing end stays open here, so the pipe
    /// outlives every program.
    output: PipeReader,
    input: PipeWriter,
    state: State,
    /// When the program was started, by the clock that never jumps.
    since: Duration,
    failures: u32,
    /// The last line of the program that is not empty.
    last_line: Vec<u8>,
}

impl Supervisor {
    fn prepare(dir: &Path, spec: InstanceSpec) -> io::Result<Self> {
        let signals = Signals::listen()?;
        // Children whose parents end come to us instead of init, so that none escapes a stop.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let (proc, log) = (Proc::system(), RotatedLog::new(spec.log.clone()));
        let boot = proc.boot().to_owned();
        let before = record::read::<State>(&OsDisk, &spec.state).ok().flatten();
        let before = before.filter(|state| state.boot == boot && state.phase != Phase::Stopped);
        if let Some(before) = &before {
            proc.kill_leftovers(before);
        }
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let start = proc.stat(pid).map_or(0, |stat| stat.process.start);
        let (output, input) = io::pipe()?;
        let state = State {
            format: FORMAT,
            boot,
            own: Process { pid, start },
            agent: spec.agent,
            phase: Phase::Waiting,
            child: None,
            started_ms: 0,
            // The supervisor before this one ended with its program running: that was a restart too.
            restarts: before.as_ref().map_or(0, |state| state.restarts.saturating_add(1)),
            last_exit: before.and_then(|state| state.last_exit),
            reason: None,
            said: None,
        };
        if let Some(folder) = spec.state.parent() {
            fs::create_dir_all(folder)?;
        }
        let dir = dir.to_owned();
        Ok(Self {
            dir,
            spec,
            log,
            proc,
            signals,
            output,
            input,
            state,
            since: Duration::ZERO,
            failures: 0,
            last_line: Vec::new(),
        })
    }

    fn supervise(mut self) -> io::Result<()> {
        // Said before anything slow, so that we can be found and stopped.
        self.publish();
        let mut wait = self.start();
        loop {
            self.sleep(wait)?;
            if self.signals.reread.swap(false, Ordering::Relaxed) {
                self.reread();
            }
            let ended = self.reap();
            if self.signals.stop.load(Ordering::Relaxed) && !matches!(wait, Wait::Stop(_)) {
                self.log.line(&format!("Program stopping {}", self.spec.display));
                if let (Some(child), None) = (self.state.child, ended) {
                    proc::signal(child.pid, Signal::TERM);
                }
                wait = Wait::Stop(now().saturating_add(Duration::from_millis(self.spec.grace_ms)));
            }
            wait = match (wait, ended) {
                (Wait::Stop(_), _) if self.state.child.is_none() || ended.is_some() => break,
                (Wait::Stop(until), None) if now() >= until => break,
                (Wait::End, Some(ended)) => self.ended(ended, now().saturating_sub(self.since)),
                (Wait::Start(at), _) if now() >= at => {
                    self.state.restarts = self.state.restarts.saturating_add(1);
                    self.start()
                }
                (wait, _) => wait,
            };
        }
        self.end_all();
        self.state.phase = Phase::Stopped;
        self.state.child = None;
        self.publish();
        Ok(())
    }

    /// Starts the program.
    fn start(&mut self) -> Wait {
        self.log.line(&format!("Program starting {}", self.spec.display));
        self.since = now();
        self.last_line.clear();
        self.state.said = None;
        match self.spawn() {
            Ok(pid) => {
                let start = self.proc.stat(pid).map_or(0, |stat| stat.process.start);
                self.state.child = Some(Process { pid, start });
                self.state.phase = Phase::Running;
                self.state.reason = None;
                self.state.started_ms = wall_ms();
                self.publish();
                Wait::End
            }
            Err(error) => {
                let reason = format!("{} could not be started: {error}", self.spec.exec.display());
                self.log.line(&format!("Program error: {reason}"));
                self.state.reason = Some(reason);
                self.ended(Ended::NotStarted, Duration::ZERO)
            }
        }
    }

    fn spawn(&self) -> io::Result<i32> {
        let child = Command::new(&self.spec.exec)
            .args(&self.spec.args)
            .env_clear()
            .envs(self.spec.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.dir)
            // A group of its own: what a terminal sends to ours does not reach it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(self.input.try_clone()?)
            .stderr(self.input.try_clone()?)
            .spawn()?;
        i32::try_from(child.id()).map_err(io::Error::other)
    }

    /// Notes that the program ended, and says what to wait for.
    fn ended(&mut self, ended: Ended, lived: Duration) -> Wait {
        // What it left behind would hold its ports and files.
        self.end_all();
        self.state.child = None;
        self.state.last_exit = Some(ended);
        let said = String::from_utf8_lossy(&self.last_line).trim().to_owned();
        self.state.said = Some(said).filter(|said| !said.is_empty());
        let wait = match next(self.spec.restart, ended, lived, self.failures) {
            Next::Again { delay, failures } => {
                self.failures = failures;
                self.state.phase = Phase::Waiting;
                Wait::Start(now().saturating_add(delay))
            }
            Next::Leave => {
                self.state.phase = Phase::Finished;
                Wait::Told
            }
        };
        self.publish();
        wait
    }

    /// Sleeps until a signal, the end of what is waited for, or output, which it writes to the log.
    fn sleep(&mut self, wait: Wait) -> io::Result<()> {
        let until = match wait {
            Wait::End | Wait::Told => None,
            Wait::Start(at) | Wait::Stop(at) => Some(at),
        };
        let timeout = until.map(|at| at.saturating_sub(now())).map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut on =
            [PollFd::new(&self.signals.wake, PollFlags::IN), PollFd::new(&self.output, PollFlags::IN)];
        match poll(&mut on, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let (woken, written) = (!on[0].revents().is_empty(), !on[1].revents().is_empty());
        if woken {
            let mut bytes = [0; 64];
            // What the bytes say stands in the flags; bytes that are left wake us once more.
            drop(self.signals.wake.read(&mut bytes));
        }
        if written {
            let mut bytes = [0; 8192];
            let count = self.output.read(&mut bytes)?;
            self.note(&bytes[..count]);
        }
        Ok(())
    }

    /// Takes note of all children that have ended; says how the program did.
    fn reap(&self) -> Option<Ended> {
        let mut ended = None;
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if self.state.child.is_some_and(|child| child.pid == pid.as_raw_nonzero().get()) {
                let status = ExitStatus::from_raw(status.as_raw());
                ended = Some(match (status.code(), status.signal()) {
                    (Some(code), _) => Ended::Code(code),
                    (None, signal) => Ended::Signal(signal.unwrap_or(0)),
                });
            }
        }
        ended
    }

    /// Kills everything of this instance, and writes down what it still had to say.
    fn end_all(&mut self) {
        self.proc.kill_until_gone(|all| proc::owned(all, &self.state));
        self.reap();
        while let Ok(1..) = poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&Timespec::default()))
        {
            let mut bytes = [0; 8192];
            match self.output.read(&mut bytes) {
                Ok(count @ 1..) => self.note(&bytes[..count]),
                Ok(0) | Err(_) => break,
            }
        }
    }

    /// Writes down what the program said.
    fn note(&mut self, bytes: &[u8]) {
        self.log.append(bytes);
        if let Some(line) = bytes.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()) {
            self.last_line.clear();
            self.last_line.extend_from_slice(&line[..line.len().min(MOST_SAID)]);
        }
    }

    /// Follows a spec that was changed, from the next start of the program on.
    fn reread(&mut self) {
        match read_spec(&self.dir) {
            Ok(spec) => {
                self.log.follow(spec.log.clone());
                self.spec = spec;
            }
            Err(error) => self.log.line(&format!("Program error: {SPEC_FILE} cannot be read: {error}")),
        }
    }

    /// Writes the state and tells the agent. The state is of this boot only, so nothing is synced; a
    /// state that cannot be written leaves the older one, which `apply` sees as a start without news.
    fn publish(&mut self) {
        if let Err(error) = record::write(&OsDisk, &self.spec.state, &self.state) {
            self.log.line(&format!("Program error: the state could not be written: {error}"));
        }
        if let (Some(agent), Ok(socket)) = (&self.spec.notify, UnixDatagram::unbound()) {
            socket.set_nonblocking(true).ok();
            // An agent that is not there looks for itself when it comes.
            socket.send_to(self.spec.name.as_bytes(), agent).ok();
        }
    }
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let (stop, reread) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        // The flag is set before the byte is sent, so whoever wakes sees it.
        for (signal, flag) in [(SIGTERM, &stop), (SIGINT, &stop), (SIGHUP, &reread)] {
            signal_hook::flag::register(signal, Arc::clone(flag))?;
        }
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGCHLD] {
            signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Self { wake, stop, reread })
    }
}

/// Time since boot.
fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Milliseconds since 1970 by the wall clock; told to people, never decided on.
fn wall_ms() -> i64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}
