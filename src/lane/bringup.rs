//! From a plan to a running machine whose every word is in the journal, and down again.
//!
//! Gates are questions to the journal, so what they saw is there for whoever asks why a lane did not come up.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::distributions::Alphanumeric;
use serde_json::Map;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::error::LaneError;
use super::handle::{Capability, EndClass, LaneEnd, LaneHandle};
use super::plan::{Need, Plan, QEMU_LOG, QMP_SOCKET, SERIAL_LOG, SPICE_SOCKET, SpiceEndpoint, TICKET_FILE};
use super::process::{ExitFacts, ExitWatch, QemuProcess, SpawnOptions};
use super::profile::{Gate, GateKind, SpiceCompression};
use super::qmp::{QmpClient, QmpEvents};
use super::serial::{self, SerialEvent};
use super::teardown::{TeardownConfig, TeardownReport, teardown};
use crate::console::spice::SpiceConsole;
use crate::console::{Console, ConsoleEvent};
use crate::journal::{Body, Cursor, Event, Journal, Source};
use crate::oracle::watch as oracle_watch;
use crate::spice::{Compression, Endpoint, Password, SessionOptions};

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
}

/// The tasks that carry what the machine says into the journal. Each ends with its wire.
#[derive(Default)]
struct Pumps {
    qmp: Option<JoinHandle<()>>,
    serial: Option<JoinHandle<()>>,
    console: Option<JoinHandle<()>>,
}

impl Lane {
    /// Starts the machine of `plan` in `folder`, which exists, and waits for its gates. A lane that does not come up,
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
        let mut parts = Parts::default();
        let result = tokio::select! {
            result = bring_up(plan, folder, journal, &mut parts) => result,
            () = cancel.cancelled() => Err(LaneError::Cancelled),
        };
        match result {
            Ok(handle) => Ok(Self { handle, parts, folder: folder.to_owned(), journal: journal.clone() }),
            Err(error) => {
                let error = explained(error, &parts).await;
                parts.take_down(folder, TeardownConfig::default(), journal).await;
                Err(error)
            }
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
    plan: &Plan,
    folder: &Path,
    journal: &Journal,
    parts: &mut Parts,
) -> Result<LaneHandle, LaneError> {
    state(journal, "starting", Some(plan.profile.clone()));
    check_inputs(plan)?;
    let ticket = prepare(plan, folder)?;
    let serial = match plan.capabilities.contains(&Capability::Serial) {
        true => Some(serial::follow(&folder.join(SERIAL_LOG))?),
        false => None,
    };
    let process = QemuProcess::spawn(SpawnOptions { argv: &plan.argv, folder, log: QEMU_LOG }).await?;
    let exit = process.exit_watch();
    let process = parts.process.insert(process);
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

    let has_console =
        [Capability::Keyboard, Capability::Screen].iter().any(|one| plan.capabilities.contains(one));
    let console = match has_console {
        true => {
            let (console, events) =
                alive.during("opening the console", connect(plan, folder, ticket)).await?;
            parts.pumps.console = Some(spawn_console(&console, events, journal, plan));
            Some(Arc::clone(parts.console.insert(console)))
        }
        false => None,
    };
    // Everybody who needs them is connected. A name that is gone cannot be left behind, whatever kills us.
    for name in [QMP_SOCKET, SPICE_SOCKET, TICKET_FILE] {
        remove(&folder.join(name))?;
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
    for gate in &plan.gates {
        pass(gate, journal, &qmp, &ended, &ending).await?;
    }
    state(journal, "ready", None);
    Ok(LaneHandle {
        name: plan.profile.clone(),
        capabilities: plan.capabilities.iter().copied().collect(),
        console: console.map(|console| console as Arc<dyn Console>),
        ended,
    })
}

fn remove(path: &Path) -> Result<(), LaneError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(LaneError::Prepare { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Says which input is missing before QEMU says it in its own words.
fn check_inputs(plan: &Plan) -> Result<(), LaneError> {
    for file in plan.files.iter().filter(|file| Path::new(&file.path).is_absolute()) {
        std::fs::metadata(&file.path).map_err(|source| LaneError::Input {
            path: PathBuf::from(&file.path),
            role: file.role,
            source,
        })?;
    }
    Ok(())
}

/// Puts what the plan needs into the folder, and returns the ticket when there is one.
fn prepare(plan: &Plan, folder: &Path) -> Result<Option<String>, LaneError> {
    let mut ticket = None;
    for need in &plan.needs {
        match need {
            Need::Copy { from, to } => {
                let path = folder.join(to);
                std::fs::copy(from, &path).map_err(|source| LaneError::Prepare { path, source })?;
            }
            Need::Ticket { to } => {
                let path = folder.join(to);
                let secret: String =
                    rand::thread_rng().sample_iter(Alphanumeric).take(TICKET_CHARS).map(char::from).collect();
                write_private(&path, &secret).map_err(|source| LaneError::Prepare { path, source })?;
                ticket = Some(secret);
            }
        }
    }
    Ok(ticket)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

async fn connect(
    plan: &Plan,
    folder: &Path,
    ticket: Option<String>,
) -> Result<(Arc<SpiceConsole>, mpsc::UnboundedReceiver<ConsoleEvent>), LaneError> {
    let folder = ShortFolder::open(folder)?;
    let endpoint = match &plan.spice {
        SpiceEndpoint::Unix { .. } => Endpoint::Unix(folder.path(SPICE_SOCKET)),
        SpiceEndpoint::Tcp { port } => Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: *port },
    };
    let mut options = SessionOptions::new(endpoint);
    options.password = ticket.map(Password::from);
    options.compression = Some(match plan.compression {
        SpiceCompression::Lz => Compression::Lz,
        SpiceCompression::Glz => Compression::Glz,
        // The others may send what is not decoded yet; the server honours what its client asks for.
        SpiceCompression::Off
        | SpiceCompression::AutoLz
        | SpiceCompression::AutoGlz
        | SpiceCompression::Quic => Compression::Off,
    });
    Ok(SpiceConsole::connect(options).await?)
}

/// A folder by a name that is short however deep it lies: a socket's path may have 107 bytes at most.
struct ShortFolder(std::os::fd::OwnedFd);

impl ShortFolder {
    fn open(folder: &Path) -> Result<Self, LaneError> {
        use rustix::fs::{Mode, OFlags, open};
        let failed =
            |errno: rustix::io::Errno| LaneError::Prepare { path: folder.to_owned(), source: errno.into() };
        open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map(Self)
            .map_err(failed)
    }

    fn path(&self, name: &str) -> PathBuf {
        use std::os::fd::AsRawFd as _;
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}

fn spawn_console(
    console: &Arc<SpiceConsole>,
    events: mpsc::UnboundedReceiver<ConsoleEvent>,
    journal: &Journal,
    plan: &Plan,
) -> JoinHandle<()> {
    let has_digest = plan.capabilities.contains(&Capability::Digest);
    oracle_watch::spawn(Arc::clone(console) as Arc<dyn Console>, events, journal.clone(), has_digest)
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

/// What QMP said about the end.
#[derive(Debug, Clone, Default)]
struct Ending {
    shutdown_reason: Option<String>,
    /// The machine stopped because it could not go on: QEMU's way to give up on an accelerator.
    is_stopped: bool,
}

async fn pump_qmp(qmp: QmpClient, mut events: QmpEvents, journal: Journal, ending: watch::Sender<Ending>) {
    loop {
        match events.recv().await {
            Ok(event) => {
                if event.name == "SHUTDOWN" {
                    let reason =
                        event.data.get("reason").and_then(|reason| reason.as_str()).map(str::to_owned);
                    ending.send_modify(|ending| ending.shutdown_reason = reason);
                }
                let has_stopped = event.name == "STOP";
                let body = Body::QmpEvent { name: event.name, data: event.data.into() };
                journal.append(Source::Qmp, body);
                // The event is the same for a pause that somebody asked for; only asking tells.
                if has_stopped && gave_up(&qmp).await {
                    ending.send_modify(|ending| ending.is_stopped = true);
                }
            }
            Err(broadcast::error::RecvError::Lagged(count)) => {
                journal.append(Source::Qmp, Body::Dropped { stream: Source::Qmp, count });
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Whether QEMU stopped because it could not go on.
async fn gave_up(qmp: &QmpClient) -> bool {
    let status = qmp.execute("query-status", Map::new(), CONNECT).await;
    status.is_ok_and(|status| status.get("status").is_some_and(|status| status == "internal-error"))
}

async fn pump_serial(mut events: mpsc::Receiver<SerialEvent>, journal: Journal) {
    while let Some(event) = events.recv().await {
        let body = match event {
            SerialEvent::Line(line) => Body::SerialLine { text: line.text },
            SerialEvent::Prompt(line) => Body::SerialPrompt { text: line.text },
        };
        journal.append(Source::Serial, body);
    }
}

/// Waits for the end, then for everything said before it, then says so.
struct Supervisor {
    exit: ExitWatch,
    console: Option<Arc<SpiceConsole>>,
    ending: watch::Receiver<Ending>,
    is_taken_down: Arc<AtomicBool>,
    journal: Journal,
    pumps: Pumps,
    ended: watch::Sender<Option<LaneEnd>>,
}

impl Supervisor {
    async fn run(mut self) {
        let facts = match self.end().await {
            Ok(facts) => facts,
            Err(how) => return self.say(LaneEnd { class: EndClass::Host, how }),
        };
        let Pumps { qmp, serial, console } = std::mem::take(&mut self.pumps);
        for pump in [qmp, serial, console].into_iter().flatten() {
            let stop = pump.abort_handle();
            if tokio::time::timeout(LAST_WORDS, pump).await.is_err() {
                tracing::warn!("a wire of the lane did not close with its machine");
                stop.abort();
            }
        }
        let end = self.judge(&facts);
        self.say(end);
    }

    /// Waits for the end of QEMU, or for what makes the lane useless although its process lives on.
    async fn end(&mut self) -> Result<Arc<ExitFacts>, String> {
        let mut ending = self.ending.clone();
        let stopped = async {
            if ending.wait_for(|ending| ending.is_stopped).await.is_err() {
                std::future::pending::<()>().await;
            }
            "the machine stopped by itself (QMP status internal-error)".to_owned()
        };
        let console = self.console.take();
        let blind = async {
            match &console {
                Some(console) => console.display_failure().await,
                None => std::future::pending().await,
            }
        };
        let useless = async {
            let how = tokio::select! {
                how = stopped => how,
                how = blind => format!("the screen can no longer be seen: {how}"),
            };
            // Either may be only the first sign of the end.
            tokio::time::sleep(END_SIGNS).await;
            how
        };
        tokio::select! {
            facts = self.exit.wait() => Ok(facts),
            how = useless => Err(how),
        }
    }

    fn say(self, end: LaneEnd) {
        let body = Body::LaneEnded { how: end.how.clone(), by_guest: end.class.by_guest() };
        self.journal.append(Source::Lane, body);
        self.ended.send_replace(Some(end));
    }

    fn judge(&self, facts: &ExitFacts) -> LaneEnd {
        let reason = self.ending.borrow().shutdown_reason.clone();
        let last_words = match facts.last_words.trim() {
            "" => String::new(),
            words => format!("; its last words: {words}"),
        };
        let exited = format!("QEMU exited with {facts}{last_words}");
        let (class, how) = match reason.as_deref() {
            _ if self.is_taken_down.load(Ordering::Acquire) => {
                (EndClass::TakenDown, "the lane was taken down".to_owned())
            }
            Some("guest-shutdown") if facts.is_success() => {
                (EndClass::GuestShutdown, "the guest powered off".to_owned())
            }
            Some("guest-reset") if facts.is_success() => {
                (EndClass::GuestReset, "the guest reset the machine".to_owned())
            }
            Some("host-signal") => (EndClass::Host, format!("QEMU was ended by a signal; {exited}")),
            Some("host-qmp-quit") => (EndClass::Host, format!("somebody ended QEMU over QMP; {exited}")),
            _ => match facts.signal {
                Some(signal) => (EndClass::Host, format!("QEMU was killed by signal {signal}{last_words}")),
                None => (EndClass::Host, exited),
            },
        };
        LaneEnd { class, how }
    }
}

/// Waits for one gate.
async fn pass(
    gate: &Gate,
    journal: &Journal,
    qmp: &QmpClient,
    ended: &watch::Receiver<Option<LaneEnd>>,
    ending: &watch::Receiver<Ending>,
) -> Result<(), LaneError> {
    let began = Instant::now();
    let name = gate_name(&gate.kind);
    let mut ended = ended.clone();
    let mut stops = ending.clone();
    let stopped = async {
        if stops.wait_for(|ending| ending.is_stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let outcome = tokio::select! {
        biased;
        result = reach(&gate.kind, journal, qmp) => result,
        end = async { ended.wait_for(Option::is_some).await.map(|end| end.clone()).ok().flatten() } => {
            Err(end.map_or_else(|| "the lane's supervisor is gone".to_owned(), |end| end.how))
        }
        () = stopped => Err("the machine stopped by itself".to_owned()),
        () = tokio::time::sleep(gate.timeout) => Err(format!("not within {:.0} s", gate.timeout.as_secs_f64())),
    };
    let waited = began.elapsed();
    let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    let seen = outcome.as_ref().err().cloned();
    journal
        .append(Source::Lane, Body::Gate { gate: name.to_owned(), passed: outcome.is_ok(), waited_ms, seen });
    outcome.map_err(|why| match ending.borrow().is_stopped {
        true => LaneError::Stopped,
        false => LaneError::Gate { gate: name, why, seen: seen_so_far(journal) },
    })
}

async fn reach(kind: &GateKind, journal: &Journal, qmp: &QmpClient) -> Result<(), String> {
    let mut cursor = Cursor::default();
    match kind {
        GateKind::Qmp => {
            let status =
                qmp.execute("query-status", Map::new(), CONNECT).await.map_err(|error| error.to_string())?;
            match status.get("running").and_then(serde_json::Value::as_bool) {
                Some(true) => Ok(()),
                _ => Err(format!("the machine is not running: {status}")),
            }
        }
        GateKind::SpiceSurface => {
            let is_surface = |event: &Event| matches!(event.body, Body::SurfaceCreated { .. });
            journal.next_match(Source::Screen, &mut cursor, is_surface).await;
            Ok(())
        }
        GateKind::SerialLine { pattern } => {
            let pattern = regex_lite::Regex::new(pattern).map_err(|error| error.to_string())?;
            let matches = |event: &Event| match &event.body {
                Body::SerialLine { text } | Body::SerialPrompt { text } => pattern.is_match(text),
                _ => false,
            };
            journal.next_match(Source::Serial, &mut cursor, matches).await;
            Ok(())
        }
        GateKind::Digest => {
            let is_digest = |event: &Event| matches!(event.body, Body::DigestUpdated { .. });
            journal.next_match(Source::Digest, &mut cursor, is_digest).await;
            Ok(())
        }
        GateKind::Quiet { quiet_for } => {
            journal.silence(Source::Screen, *quiet_for).await;
            Ok(())
        }
    }
}

/// What the machine has shown so far, for a gate that was not reached.
fn seen_so_far(journal: &Journal) -> String {
    let screen = journal.after(Source::Screen, Cursor::default());
    let surface = screen.iter().rev().find_map(|event| match event.body {
        Body::SurfaceCreated { width, height, .. } => Some(format!("a {width}x{height} surface")),
        _ => None,
    });
    let draws = screen.iter().filter(|event| matches!(event.body, Body::SurfaceDrawn { .. })).count();
    let serial = journal.after(Source::Serial, Cursor::default());
    let lines: Vec<String> = serial
        .iter()
        .filter_map(|event| match &event.body {
            Body::SerialLine { text } if !text.trim().is_empty() => Some(format!("\n  {text}")),
            _ => None,
        })
        .collect();
    let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].concat();
    let last = if last.is_empty() { " no line".to_owned() } else { last };
    format!(
        "screen: {}, {draws} times redrawn; serial:{last}",
        surface.unwrap_or_else(|| "no surface".to_owned())
    )
}

fn gate_name(kind: &GateKind) -> &'static str {
    match kind {
        GateKind::Qmp => "qmp",
        GateKind::SpiceSurface => "spice-surface",
        GateKind::SerialLine { .. } => "serial-line",
        GateKind::Digest => "digest",
        GateKind::Quiet { .. } => "quiet",
    }
}

/// A wire that broke because QEMU ended is QEMU's end.
async fn explained(error: LaneError, parts: &Parts) -> LaneError {
    let Some(process) = &parts.process else { return error };
    if matches!(error, LaneError::Ended { .. } | LaneError::Cancelled) {
        return error;
    }
    match process.exit_watch().now() {
        Some(facts) if !matches!(error, LaneError::Gate { .. }) => {
            LaneError::Ended { during: "coming up", facts, log: PathBuf::from(QEMU_LOG) }
        }
        _ => error,
    }
}

impl Parts {
    async fn take_down(&mut self, folder: &Path, config: TeardownConfig, journal: &Journal) {
        let Some(process) = self.process.take() else { return };
        if process.exit_watch().now().is_none() {
            self.is_taken_down.store(true, Ordering::Release);
        }
        state(journal, "stopping", None);
        // The client leaves first: a server that drains a client which no longer reads blocks for half a minute.
        if let Some(console) = self.console.take() {
            let _ = tokio::time::timeout(LAST_WORDS, console.close()).await;
        }
        let report =
            teardown(&process, self.qmp.as_ref(), folder, &[QMP_SOCKET, SPICE_SOCKET, TICKET_FILE], config)
                .await;
        self.qmp = None;
        if let Some(supervisor) = self.supervisor.take() {
            let _ = tokio::time::timeout(LAST_WORDS * 4, supervisor).await;
        }
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

fn state(journal: &Journal, state: &str, detail: Option<String>) {
    journal.append(Source::Lane, Body::LaneState { state: state.to_owned(), detail });
}

/// For each step of connecting.
const CONNECT: Duration = Duration::from_secs(20);
/// From a broken wire to the end that broke it.
const END_SIGNS: Duration = Duration::from_millis(500);
/// From the end of QEMU to the end of its wires.
const LAST_WORDS: Duration = Duration::from_secs(2);
const TICKET_CHARS: usize = 32;
const LINES_SHOWN: usize = 5;
