//! From a plan to a running machine whose every word is in the journal, and down again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Map;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::control::MachineControl;
use super::error::LaneError;
use super::handle::{Capability, LaneHandle};
use super::plan::{Plan, QEMU_LOG, QMP_SOCKET, SERIAL_LOG, SPICE_SOCKET, SpiceEndpoint};
use super::prepare::{check_inputs, prepare, remove};
use super::process::{ExitWatch, QemuProcess, SpawnOptions, last_words};
use super::profile::SpiceCompression;
use super::qmp::QmpClient;
use super::readiness::{Vigil, pass, pass_when};
use super::serial;
use super::snapshot::{IMAGE, Snapshots};
use super::speed::SpeedProbe;
use super::standstill::Standstill;
use super::supervise::{END_SIGNS, Ending, LAST_WORDS, Pumps, Supervisor, pump_qmp, pump_serial};
use super::teardown::{TeardownConfig, TeardownReport, teardown};
use super::warm::restore::goes_on;
use super::warm::save::{SaveOptions, save};
use super::warm::{SaveError, SavedMachine, Seen, Staging, migrate};
use crate::console::spice::SpiceConsole;
use crate::console::{Console, ConsoleEvent, ConsoleListener};
use crate::journal::{Body, Journal, Source};
use crate::oracle::watch::{self as oracle_watch, Digests};
use crate::spice::{Compression, Endpoint, Password, Recorder, SessionOptions};

/// A machine that we started. Dropping it kills it; [`Lane::down`] takes it down in order.
pub struct Lane {
    handle: LaneHandle,
    parts: Parts,
    folder: PathBuf,
    journal: Journal,
}

/// What has been brought up so far.
#[derive(Default)]
struct Parts {
    process: Option<QemuProcess>,
    qmp: Option<QmpClient>,
    console: Option<Arc<SpiceConsole>>,
    pumps: Pumps,
    supervisor: Option<JoinHandle<()>>,
    is_taken_down: Arc<AtomicBool>,
    /// What must not stay in the folder.
    transient: Vec<String>,
}

/// How a machine comes to life.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// It boots and passes the plan's gates.
    Boot,
    /// It goes on where it was saved, and shows that it does.
    Restore(&'a SavedMachine),
}

/// How to bring a lane up.
#[derive(Debug, Clone, Copy)]
pub struct UpOptions<'a> {
    /// The machine.
    pub plan: &'a Plan,
    /// The lane's folder, which exists.
    pub folder: &'a Path,
    /// How it comes to life.
    pub start: Start<'a>,
    /// Whether the names of sockets and ticket stay in the folder, for others to join. Without them nothing can be left
    /// behind, whatever kills us.
    pub is_joinable: bool,
    /// Where the console is recorded.
    pub recorder: Option<&'a Recorder>,
    /// Who hears what the console tells.
    pub listener: Option<&'a Arc<dyn ConsoleListener>>,
}

impl Lane {
    /// Boots the machine of `plan` in `folder`, which exists, and waits for its gates. A lane that does not come up,
    /// or is cancelled on the way, leaves nothing behind.
    ///
    /// # Errors
    /// See [`LaneError`].
    pub async fn up(
        plan: &Plan,
        folder: &Path,
        journal: &Journal,
        cancel: &CancellationToken,
    ) -> Result<Self, LaneError> {
        let options = UpOptions {
            plan,
            folder,
            start: Start::Boot,
            is_joinable: false,
            recorder: None,
            listener: None,
        };
        Self::up_with(options, journal, cancel).await
    }

    /// As [`Lane::up`], with a choice.
    ///
    /// # Errors
    /// See [`LaneError`].
    pub async fn up_with(
        options: UpOptions<'_>,
        journal: &Journal,
        cancel: &CancellationToken,
    ) -> Result<Self, LaneError> {
        let folder = options.folder;
        let transient = options.plan.transient_names().into_iter().map(str::to_owned).collect();
        let mut parts = Parts { transient, ..Parts::default() };
        let bringing = bring_up(options, journal, &mut parts);
        let up = cancel.run_until_cancelled(bringing).await.unwrap_or(Err(LaneError::Cancelled));
        match up {
            Ok(handle) => Ok(Self { handle, parts, folder: folder.to_owned(), journal: journal.clone() }),
            Err(error) => {
                let error = explained(error, &parts, folder);
                parts.take_down(folder, TeardownConfig::default(), journal).await;
                Err(error)
            }
        }
    }

    /// Saves the machine as it is now into `staging`, and lets it go on. Call it when the lane is ready and before
    /// anything happens to it.
    ///
    /// # Errors
    /// It cannot be saved; it goes on all the same, unless the error says otherwise.
    pub async fn save(&self, plan: &Plan, staging: &Staging) -> Result<Seen, SaveError> {
        let console = self.handle.console.as_deref();
        save(
            SaveOptions { qmp: self.qmp(), plan, folder: &self.folder, journal: &self.journal, console },
            staging,
        )
        .await
    }

    /// Leaves the console to others: SPICE serves one client at a time.
    pub async fn release_console(&mut self) {
        if let Some(console) = self.parts.console.take() {
            let _ = tokio::time::timeout(LAST_WORDS, console.close()).await;
        }
    }

    /// QEMU's monitor.
    pub fn qmp(&self) -> &QmpClient {
        self.parts.qmp.as_ref().expect("a lane that is up has its monitor until it is taken down")
    }

    /// QEMU's process id.
    pub fn pid(&self) -> i32 {
        self.parts.process.as_ref().expect("a lane that is up has its process until it is taken down").pid()
    }

    /// What scenarios get to hold.
    pub fn handle(&self) -> LaneHandle {
        self.handle.clone()
    }

    /// Takes the lane down, rung by rung, and waits until all it said is in the journal.
    pub async fn down(mut self, config: TeardownConfig) {
        self.parts.take_down(&self.folder, config, &self.journal).await;
    }
}

async fn bring_up(
    options: UpOptions<'_>,
    journal: &Journal,
    parts: &mut Parts,
) -> Result<LaneHandle, LaneError> {
    let UpOptions { plan, folder, start, is_joinable, recorder, listener } = options;
    state(journal, "starting", Some(plan.profile.clone()));
    check_inputs(plan)?;
    let ticket = prepare(plan, folder)?;
    if let Start::Restore(saved) = start {
        saved.lay_out(folder)?;
    }
    let serial = match plan.capabilities.contains(&Capability::Serial) {
        true => Some(serial::follow(&folder.join(SERIAL_LOG))?),
        false => None,
    };
    let argv = argv_of(plan, start);
    let process = QemuProcess::spawn(SpawnOptions { argv: &argv, folder, log: QEMU_LOG }).await?;
    let exit = process.exit_watch();
    let process = parts.process.insert(process);
    let speed = u32::try_from(process.pid()).ok().map(SpeedProbe::of);
    tracing::debug!(pid = process.pid(), folder = %folder.display(), "qemu started");
    if let Some(follower) = serial {
        let (events, _reading) = follower.until(exit.clone());
        parts.pumps.serial = Some(tokio::spawn(pump_serial(events, journal.clone())));
    }

    let alive = Alive { exit: exit.clone(), log: folder.join(QEMU_LOG) };
    let (qmp, events) =
        alive.during("connecting to QMP", QmpClient::connect(folder, QMP_SOCKET, CONNECT)).await?;
    let (facts, ending) = watch::channel(Ending::default());
    let qmp = parts.qmp.insert(qmp).clone();
    parts.pumps.qmp = Some(tokio::spawn(pump_qmp(qmp.clone(), events, journal.clone(), facts)));
    if let Start::Restore(saved) = start {
        alive.during("loading the saved machine", migrate::load(&qmp, saved.memory())).await?;
    }

    let has_console =
        [Capability::Keyboard, Capability::Screen].iter().any(|one| plan.capabilities.contains(one));
    let console = match has_console {
        true => {
            let (console, events) =
                alive.during("opening the console", connect(plan, folder, ticket, recorder)).await?;
            parts.pumps.console = Some(spawn_console(&console, events, journal, plan, listener));
            Some(Arc::clone(parts.console.insert(console)))
        }
        false => None,
    };
    if !is_joinable {
        // Everybody who needs them is connected, and QEMU has its files open. A name that is gone cannot be left
        // behind, whatever kills us.
        for name in plan.transient_names() {
            remove(&folder.join(name))?;
        }
    }
    // From here on nothing is lost: every wire is being read, so the machine may begin.
    alive.during("starting the machine", qmp.execute("cont", Map::new(), CONNECT)).await?;

    let (ended_sender, ended) = watch::channel(None);
    let supervisor = Supervisor {
        exit,
        console: console.clone(),
        ending: ending.clone(),
        is_taken_down: Arc::clone(&parts.is_taken_down),
        journal: journal.clone(),
        pumps: std::mem::take(&mut parts.pumps),
        ended: ended_sender,
    };
    parts.supervisor = Some(tokio::spawn(supervisor.run()));
    let console = console.map(|console| console as Arc<dyn Console>);
    let vigil = Vigil { journal, ended: &ended, ending: &ending };
    match start {
        Start::Boot => {
            for gate in &plan.gates {
                pass(gate, Some(&qmp), vigil).await?;
            }
        }
        Start::Restore(saved) => {
            let opens = goes_on(saved, journal, console.as_deref());
            pass_when("restored", RESTORED, opens, vigil).await?;
        }
    }
    let restored = matches!(start, Start::Restore(_)).then(|| "restored".to_owned());
    state(journal, "ready", restored);
    let control = MachineControl::new(qmp, journal.clone(), plan.qmp_allow.clone(), plan.exits_on_reset);
    let control = match plan.is_warmable() {
        true => {
            control.with_snapshots(Snapshots::new(folder.to_owned(), plan.private_nodes()), console.clone())
        }
        false => control,
    };
    Ok(LaneHandle {
        name: plan.profile.clone(),
        capabilities: plan.capabilities.iter().copied().collect(),
        console,
        standstill: Some(Standstill::of_qemu(control.clone())),
        control: Some(control),
        faults: None,
        speed,
        qemu_log: Some(folder.join(QEMU_LOG)),
        ended,
    })
}

fn argv_of(plan: &Plan, start: Start<'_>) -> Vec<String> {
    let mut argv = plan.argv.clone();
    if matches!(start, Start::Restore(_)) {
        argv.extend(RESTORE_ARGV.map(str::to_owned));
    }
    argv
}

async fn connect(
    plan: &Plan,
    folder: &Path,
    ticket: Option<String>,
    recorder: Option<&Recorder>,
) -> Result<(Arc<SpiceConsole>, mpsc::UnboundedReceiver<ConsoleEvent>), LaneError> {
    let folder = ShortFolder::open(folder)?;
    let endpoint = match &plan.spice {
        SpiceEndpoint::Unix { .. } => Endpoint::Unix(folder.path(SPICE_SOCKET)),
        SpiceEndpoint::Tcp { port } => Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: *port },
    };
    let mut options = SessionOptions::new(endpoint);
    options.password = ticket.map(Password::from);
    options.recorder = recorder.cloned();
    options.compression = Some(match plan.compression {
        SpiceCompression::Off => Compression::Off,
        SpiceCompression::AutoGlz => Compression::AutoGlz,
        SpiceCompression::AutoLz => Compression::AutoLz,
        SpiceCompression::Quic => Compression::Quic,
        SpiceCompression::Glz => Compression::Glz,
        SpiceCompression::Lz => Compression::Lz,
    });
    Ok(SpiceConsole::connect(options).await?)
}

/// A folder by a name that is short however deep it lies: a socket's path may have 107 bytes at most.
pub(super) struct ShortFolder(std::os::fd::OwnedFd);

impl ShortFolder {
    pub(super) fn open(folder: &Path) -> Result<Self, LaneError> {
        use rustix::fs::{Mode, OFlags, open};
        let failed =
            |errno: rustix::io::Errno| LaneError::Prepare { path: folder.to_owned(), source: errno.into() };
        open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map(Self)
            .map_err(failed)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        use std::os::fd::AsRawFd as _;
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}

fn spawn_console(
    console: &Arc<SpiceConsole>,
    events: mpsc::UnboundedReceiver<ConsoleEvent>,
    journal: &Journal,
    plan: &Plan,
    listener: Option<&Arc<dyn ConsoleListener>>,
) -> JoinHandle<()> {
    let has_digest = plan.capabilities.contains(&Capability::Digest);
    let digests = if has_digest { Digests::OnScreen } else { Digests::Ignored };
    oracle_watch::spawn(
        Arc::clone(console) as Arc<dyn Console>,
        events,
        journal.clone(),
        digests,
        listener.cloned(),
    )
}

/// Races what needs QEMU against QEMU's end.
struct Alive {
    exit: ExitWatch,
    log: PathBuf,
}

impl Alive {
    async fn during<T, E: Into<LaneError>>(
        &self,
        during: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, LaneError> {
        let mut exit = self.exit.clone();
        let ended = |facts| LaneError::Ended { during, facts, log: self.log.clone() };
        tokio::select! {
            biased;
            result = work => match result {
                Ok(value) => Ok(value),
                // A wire that broke is often only the first sign of the end.
                Err(error) => match tokio::time::timeout(END_SIGNS, exit.wait()).await {
                    Ok(facts) => Err(ended(facts)),
                    Err(_) => Err(error.into()),
                },
            },
            facts = exit.wait() => Err(ended(facts)),
        }
    }
}

/// A wire that broke because QEMU ended is QEMU's end, and a gate that was not reached may be so for a reason that QEMU
/// has named.
fn explained(error: LaneError, parts: &Parts, folder: &Path) -> LaneError {
    let Some(process) = &parts.process else { return error };
    match (error, process.exit_watch().now()) {
        (error @ (LaneError::Ended { .. } | LaneError::Cancelled), _) => error,
        (LaneError::Gate { gate, why, seen }, _) => {
            let words = last_words(&folder.join(QEMU_LOG));
            let lines: Vec<&str> = words.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            let said: String = last.iter().map(|line| format!("\n  {line}")).collect();
            let seen = if said.is_empty() { seen } else { format!("{seen}\nQEMU:{said}") };
            LaneError::Gate { gate, why, seen }
        }
        (_, Some(facts)) => LaneError::Ended { during: "coming up", facts, log: PathBuf::from(QEMU_LOG) },
        (error, None) => error,
    }
}

impl Parts {
    async fn take_down(&mut self, folder: &Path, config: TeardownConfig, journal: &Journal) {
        let transient: Vec<&str> = self.transient.iter().map(String::as_str).collect();
        let Some(process) = self.process.take() else {
            for name in transient {
                let _ = remove(&folder.join(name));
            }
            return;
        };
        if process.exit_watch().now().is_none() {
            self.is_taken_down.store(true, Ordering::Release);
        }
        state(journal, "stopping", None);
        // The client leaves first: a server that drains a client which no longer reads blocks for half a minute.
        if let Some(console) = self.console.take() {
            let _ = tokio::time::timeout(LAST_WORDS, console.close()).await;
        }
        let transient: Vec<&str> = transient.into_iter().chain([IMAGE]).collect();
        let report = teardown(&process, self.qmp.as_ref(), folder, &transient, config).await;
        self.qmp = None;
        if let Some(supervisor) = self.supervisor.take() {
            let _ = tokio::time::timeout(LAST_WORDS * 4, supervisor).await;
        }
        // A lane that did not come as far as to be supervised still holds them.
        std::mem::take(&mut self.pumps).drain().await;
        note(journal, &report);
    }
}

fn note(journal: &Journal, report: &TeardownReport) {
    for path in &report.left_behind {
        tracing::warn!(path = %path.display(), "socket could not be removed");
    }
    let rung = serde_json::to_value(report.rung).ok().and_then(|rung| rung.as_str().map(str::to_owned));
    let body = Body::Teardown {
        rung: rung.unwrap_or_default(),
        took_ms: u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
    };
    journal.append(Source::Lane, body);
    state(journal, "down", None);
}

pub(super) fn state(journal: &Journal, state: &str, detail: Option<String>) {
    journal.append(Source::Lane, Body::LaneState { state: state.to_owned(), detail });
}

/// What a restore adds to the argv.
pub(super) const RESTORE_ARGV: [&str; 2] = ["-incoming", "defer"];
/// Lines of QEMU's log that are shown.
const LINES_SHOWN: usize = 5;
/// For a restored machine to go on. It takes a tenth of a second on an idle host.
const RESTORED: Duration = Duration::from_secs(10);
/// For each step of connecting.
const CONNECT: Duration = Duration::from_secs(20);
