//! A lane on a machine that is somebody else's: connected to, watched, and left running.
//!
//! Nothing here ends the machine, nor signals its process. What is not configured is not there; what is configured and
//! does not work fails the lane, whether the scenario would have used it or not.
//!
//! Start reading at [`AttachedLane::up`]. Its wires' tasks are those of a lane of our own; only its end is another
//! matter, because there is no process to ask: see [`Watch`].

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::attach_console::{AttachedConsole, Carrier};
use super::attach_error::AttachError;
use super::attach_settings::{AttachSettings, Configured, ConsoleSource, Origin, PasswordSource};
use super::bringup::state;
use super::control::MachineControl;
use super::error::LaneError;
use super::handle::{EndClass, LaneEnd, LaneHandle};
use super::qmp::{QmpClient, QmpConnectError, QmpEvents};
use super::readiness::{Vigil, pass};
use super::serial::{self, SerialError};
use super::standstill::Standstill;
use super::supervise::{END_SIGNS, Ending, LAST_WORDS, Pumps, pump_qmp, pump_serial};
use super::unix_socket;
use crate::console::ConsoleListener;
use crate::control::client::ClientOptions;
use crate::control::protocol::EventKind;
use crate::journal::{Body, Journal, Source};
use crate::oracle::watch::{self as oracle_watch, Digests};
use crate::spice::{
    CloseReason, ConnectionTarget, Endpoint, Password, ProxyUrl, Recorder, SessionOptions, TlsEndpoint,
    address, vv,
};

/// A machine that we are attached to. [`AttachedLane::down`] leaves it in order; dropping this leaves it at once.
pub struct AttachedLane {
    handle: LaneHandle,
    parts: Parts,
    journal: Journal,
}

/// Who takes note of a console besides the journal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Observers<'a> {
    /// Where it is recorded.
    pub recorder: Option<&'a Recorder>,
    /// Who hears what it tells.
    pub listener: Option<&'a Arc<dyn ConsoleListener>>,
}

/// What a run remembers from one attempt to the next.
#[derive(Debug, Default)]
pub struct AttachMemory {
    /// What a connection file said before it was deleted, as it had asked for.
    deleted: Option<ConnectionTarget>,
}

/// What has been brought up so far.
#[derive(Default)]
struct Parts {
    qmp: Option<QmpClient>,
    qmp_closed: Option<CancellationToken>,
    console: Option<AttachedConsole>,
    pumps: Pumps,
    /// Ends with the reading of the serial log; says why when that is broken.
    reading: Option<JoinHandle<Result<(), SerialError>>>,
    supervisor: Option<JoinHandle<Pumps>>,
    /// Cancelled to end the reading of the serial log.
    serial_stop: CancellationToken,
    /// Cancelled when it is us who leave.
    leaving: CancellationToken,
}

impl AttachedLane {
    /// Connects every wire that is configured and waits for the gates. A lane that does not come up, or is cancelled on
    /// the way, leaves the machine as it was.
    ///
    /// # Errors
    /// See [`AttachError`] and [`LaneError`].
    pub async fn up(
        settings: &AttachSettings,
        memory: &mut AttachMemory,
        journal: &Journal,
        cancel: &CancellationToken,
    ) -> Result<Self, LaneError> {
        Self::up_observed(settings, memory, journal, cancel, Observers::default()).await
    }

    /// As [`AttachedLane::up`], with others who take note of the console.
    ///
    /// # Errors
    /// See [`AttachError`] and [`LaneError`].
    pub async fn up_observed(
        settings: &AttachSettings,
        memory: &mut AttachMemory,
        journal: &Journal,
        cancel: &CancellationToken,
        observers: Observers<'_>,
    ) -> Result<Self, LaneError> {
        let mut parts = Parts::default();
        let bringing = bring_up(settings, memory, journal, &mut parts, observers);
        let up = cancel.run_until_cancelled(bringing).await.unwrap_or(Err(LaneError::Cancelled));
        match up {
            Ok(handle) => Ok(Self { handle, parts, journal: journal.clone() }),
            Err(error) => {
                parts.take_down(journal).await;
                Err(error)
            }
        }
    }

    /// What scenarios get to hold.
    pub fn handle(&self) -> LaneHandle {
        self.handle.clone()
    }

    /// Leaves the machine: closes our console, then our QMP connection, and waits until all that was said is in the
    /// journal. The machine goes on.
    pub async fn down(mut self) {
        self.parts.take_down(&self.journal).await;
    }
}

async fn bring_up(
    settings: &AttachSettings,
    memory: &mut AttachMemory,
    journal: &Journal,
    parts: &mut Parts,
    observers: Observers<'_>,
) -> Result<LaneHandle, LaneError> {
    let Observers { recorder, listener } = observers;
    state(journal, "starting", Some(settings.name.clone()));
    let console = match &*settings.consoles {
        [] => None,
        [console] => Some((console.origin, carrier(settings, console, memory, recorder).await?)),
        [first, second, ..] => {
            return Err(AttachError::TwoConsoles { first: first.origin, second: second.origin }.into());
        }
    };
    state(journal, "attaching", Some(summary(settings, console.as_ref().map(|(_, carrier)| carrier))));
    if let Some(Configured { value, origin }) = &settings.serial_log {
        let follower = serial::follow_from_end(value)
            .map_err(|source| AttachError::SerialLog { origin: *origin, source })?;
        let (events, reading) = follower.until(parts.serial_stop.clone().cancelled_owned());
        parts.reading = Some(reading);
        parts.pumps.serial = Some(tokio::spawn(pump_serial(events, journal.clone())));
    }
    let (facts, ending) = watch::channel(Ending::default());
    if let Some(Configured { value, origin }) = &settings.qmp {
        let (qmp, events) = connect_qmp(value).await.map_err(|source| AttachError::Qmp {
            origin: *origin,
            path: value.clone(),
            source,
        })?;
        let qmp = parts.qmp.insert(qmp).clone();
        let closed = parts.qmp_closed.insert(CancellationToken::new()).clone();
        let pump = pump_qmp(qmp, events, journal.clone(), facts);
        parts.pumps.qmp = Some(tokio::spawn(async move {
            pump.await;
            closed.cancel();
        }));
    }
    if let Some((origin, carrier)) = console {
        let (console, events) = AttachedConsole::connect(origin, carrier).await?;
        let console = parts.console.insert(console);
        let digests = match (&console, settings.digest) {
            (_, false) => Digests::Ignored,
            (AttachedConsole::Spice(_), true) => Digests::OnScreen,
            (AttachedConsole::Control(control, path), true) => {
                if !control.tells(EventKind::DigestUpdated) {
                    let (server, version) = (control.server_name().to_owned(), control.version());
                    return Err(AttachError::NoDigest { origin, path: path.clone(), server, version }.into());
                }
                Digests::Told
            }
        };
        let watched =
            oracle_watch::spawn(console.shared(), events, journal.clone(), digests, listener.cloned());
        parts.pumps.console = Some(watched);
    }

    let (ended_sender, ended) = watch::channel(None);
    let supervisor = Watch {
        console: parts.console.clone(),
        qmp: parts.qmp.clone(),
        qmp_closed: parts.qmp_closed.clone(),
        ending: ending.clone(),
        leaving: parts.leaving.clone(),
        serial_stop: parts.serial_stop.clone(),
        reading: parts.reading.take(),
        pumps: std::mem::take(&mut parts.pumps),
        journal: journal.clone(),
        ended: ended_sender,
    };
    parts.supervisor = Some(tokio::spawn(supervisor.run()));
    for gate in &settings.gates {
        pass(gate, parts.qmp.as_ref(), Vigil { journal, ended: &ended, ending: &ending }).await?;
    }
    state(journal, "ready", None);
    let control = parts.qmp.clone().map(|qmp| {
        // Whether a reset ends the machine is its owner's choice, which QEMU does not tell.
        MachineControl::new(qmp, journal.clone(), settings.qmp_allow.clone(), false)
    });
    Ok(LaneHandle {
        name: settings.name.clone(),
        capabilities: settings.capabilities(),
        console: parts.console.as_ref().map(AttachedConsole::shared),
        standstill: control.clone().map(Standstill::of_qemu),
        control,
        faults: None,
        speed: None,
        qemu_log: None,
        ended,
    })
}

/// Finds out where the console is and what its ticket is. Reads files, connects to nothing.
async fn carrier(
    settings: &AttachSettings,
    console: &Configured<ConsoleSource>,
    memory: &mut AttachMemory,
    recorder: Option<&Recorder>,
) -> Result<Carrier, AttachError> {
    let origin = console.origin;
    let target = match &console.value {
        ConsoleSource::ControlSocket(path) => {
            return control_options(settings, origin, path, recorder.is_some());
        }
        ConsoleSource::Spice(text) => {
            address::parse(&text.0).map_err(|source| AttachError::Address { origin, source })?
        }
        ConsoleSource::Vv(path) => connection_file(origin, path, memory).await?,
    };
    let mut options = SessionOptions::to(with_trust(settings, target).await?);
    options.target.check().map_err(|source| AttachError::Target { origin, source })?;
    match &*settings.passwords {
        [] => {}
        [password] => options.password = Some(ticket(password).await?),
        [first, second, ..] => {
            return Err(AttachError::TwoPasswords { first: first.origin, second: second.origin });
        }
    }
    options.recorder = recorder.cloned();
    Ok(Carrier::Spice(Box::new(options)))
}

/// Whoever holds the socket has opened the console already: what is said about opening it would be believed in vain.
fn control_options(
    settings: &AttachSettings,
    origin: Origin,
    path: &Path,
    is_recorded: bool,
) -> Result<Carrier, AttachError> {
    let about_session = [
        settings.passwords.first().map(|said| said.origin),
        settings.ca.as_ref().map(|said| said.origin),
        settings.host_subject.as_ref().map(|said| said.origin),
        settings.proxy.as_ref().map(|said| said.origin),
    ];
    if let Some(about) = about_session.into_iter().flatten().next() {
        return Err(AttachError::NotThroughControl { origin, about });
    }
    if is_recorded {
        return Err(AttachError::NotRecorded { origin });
    }
    let longest = settings.gates.iter().map(|gate| gate.timeout).max();
    let options = ClientOptions {
        client_name: format!("backstaff {}", env!("CARGO_PKG_VERSION")),
        deadline: longest.map_or(CONTROL_CONNECTS, |longest| longest.max(CONTROL_CONNECTS_AT_LEAST)),
        answer: CONTROL_ANSWERS,
    };
    Ok(Carrier::Control(path.to_owned(), options))
}

/// Adds what was said apart from the address, which wins over what was said with it.
async fn with_trust(
    settings: &AttachSettings,
    mut target: ConnectionTarget,
) -> Result<ConnectionTarget, AttachError> {
    if let Some(Configured { value, origin }) = &settings.proxy {
        let url = ProxyUrl::parse(&value.0);
        target.proxy = Some(url.map_err(|source| AttachError::Proxy { origin: *origin, source })?);
    }
    if let Some(Configured { value, origin }) = &settings.ca {
        let failed = |source| AttachError::Authority { origin: *origin, path: value.clone(), source };
        let tls = tls_of(&mut target, *origin)?;
        tls.ca = Some(read_text(value).await.map_err(failed)?);
    }
    if let Some(Configured { value, origin }) = &settings.host_subject {
        tls_of(&mut target, *origin)?.host_subject = Some(value.clone());
    }
    Ok(target)
}

/// Whoever says whom to trust would believe in TLS where there is none.
fn tls_of(target: &mut ConnectionTarget, origin: Origin) -> Result<&mut TlsEndpoint, AttachError> {
    target.tls.as_mut().ok_or(AttachError::NoTls { origin })
}

/// Reads a connection file, and deletes it if it asks for that. What it said counts for the rest of the run, unless
/// there is a new file by then.
async fn connection_file(
    origin: Origin,
    path: &Path,
    memory: &mut AttachMemory,
) -> Result<ConnectionTarget, AttachError> {
    let failed = |source| AttachError::VvRead { origin, path: path.to_owned(), source };
    let text = match read_text(path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return memory.deleted.clone().ok_or_else(|| failed(error));
        }
        text => text.map_err(failed)?,
    };
    let file =
        vv::parse(&text).map_err(|source| AttachError::Vv { origin, path: path.to_owned(), source })?;
    if file.delete_this_file {
        tokio::fs::remove_file(path).await.map_err(|source| AttachError::VvDelete {
            origin,
            path: path.to_owned(),
            source,
        })?;
        memory.deleted = Some(file.target.clone());
    }
    Ok(file.target)
}

async fn ticket(password: &Configured<PasswordSource>) -> Result<Password, AttachError> {
    let path = match &password.value {
        PasswordSource::Text(password) => return Ok(password.clone()),
        PasswordSource::File(path) => path,
    };
    let origin = password.origin;
    let failed = |source| AttachError::PasswordFile { origin, path: path.clone(), source };
    let text = read_text(path).await.map_err(failed)?;
    // Editors and `echo` end the line; the line end is not part of the ticket.
    let text = text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(Password::from(text.to_owned()))
}

/// Reads a small text file, which may be a pipe.
async fn read_text(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind};
    let read = async {
        let mut bytes = Vec::new();
        tokio::fs::File::open(path).await?.take(TEXT_LIMIT + 1).read_to_end(&mut bytes).await?;
        let is_too_long = u64::try_from(bytes.len()).map_or(true, |length| length > TEXT_LIMIT);
        let message = format!("more than {TEXT_LIMIT} bytes");
        if is_too_long {
            return Err(Error::new(ErrorKind::InvalidData, message));
        }
        String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "not UTF-8"))
    };
    let late = |_| Error::new(ErrorKind::TimedOut, format!("not read within {READING:?}"));
    tokio::time::timeout(READING, read).await.map_err(late)?
}

/// Connects at once or not at all: whose machine is not running yet is not waited for.
async fn connect_qmp(path: &Path) -> Result<(QmpClient, QmpEvents), QmpConnectError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stream = unix_socket::connect(folder, &name, Duration::ZERO).await?;
    Ok(QmpClient::negotiate(stream, GREETING).await?)
}

/// What the lane is attached to, for people. Without secrets.
fn summary(settings: &AttachSettings, console: Option<&Carrier>) -> String {
    let console = console.map(|carrier| {
        let options = match carrier {
            Carrier::Spice(options) => options,
            Carrier::Control(path, _) => return format!("control socket {}", path.display()),
        };
        let tls = options.target.tls.as_ref();
        let tls =
            tls.map(|tls| format!("{} (TLS)", Endpoint::Tcp { host: tls.host.clone(), port: tls.port }));
        let ports = [options.target.plain.as_ref().map(ToString::to_string), tls];
        format!("console {}", ports.into_iter().flatten().collect::<Vec<_>>().join(" and "))
    });
    let serial = settings.serial_log.as_ref().map(|log| format!("serial log {}", log.value.display()));
    let qmp = settings.qmp.as_ref().map(|qmp| format!("QMP {}", qmp.value.display()));
    [console, serial, qmp].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

impl Parts {
    async fn take_down(&mut self, journal: &Journal) {
        let began = Instant::now();
        state(journal, "stopping", None);
        self.leaving.cancel();
        close(self.console.take().as_ref(), self.qmp.take().as_ref()).await;
        self.serial_stop.cancel();
        let mut pumps = std::mem::take(&mut self.pumps);
        if let Some(supervisor) = self.supervisor.take()
            && let Ok(Ok(left)) = tokio::time::timeout(LAST_WORDS * 4, supervisor).await
        {
            pumps = left;
        }
        let Pumps { qmp, serial, console } = pumps;
        for pump in [qmp, serial, console].into_iter().flatten() {
            finish(pump).await;
        }
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        journal.append(Source::Lane, Body::Teardown { rung: "left_running".to_owned(), took_ms });
        state(journal, "down", None);
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.leaving.cancel();
        self.serial_stop.cancel();
        // What the supervisor does not hold yet.
        let Pumps { qmp, serial, console } = &self.pumps;
        [qmp, serial, console].into_iter().flatten().for_each(JoinHandle::abort);
    }
}

/// Closes our ends in order: a server that drains a client which no longer reads blocks for half a minute.
async fn close(console: Option<&AttachedConsole>, qmp: Option<&QmpClient>) {
    if let Some(console) = console {
        let _ = tokio::time::timeout(LAST_WORDS, console.shared().close()).await;
    }
    if let Some(qmp) = qmp {
        let _ = tokio::time::timeout(LAST_WORDS, qmp.close()).await;
    }
}

async fn finish(pump: JoinHandle<()>) {
    let stop = pump.abort_handle();
    if tokio::time::timeout(LAST_WORDS, pump).await.is_err() {
        tracing::warn!("a wire of the lane did not close");
        stop.abort();
    }
}

/// Waits for the first sign of the end, looks whether there are more, and says the end after everything said before it.
///
/// There is no process to ask. QMP tells how a machine ends; without it, that its console was closed is all there is to
/// know.
struct Watch {
    console: Option<AttachedConsole>,
    qmp: Option<QmpClient>,
    /// Cancelled when QMP has closed; nothing, when there is no QMP.
    qmp_closed: Option<CancellationToken>,
    ending: watch::Receiver<Ending>,
    leaving: CancellationToken,
    serial_stop: CancellationToken,
    reading: Option<JoinHandle<Result<(), SerialError>>>,
    pumps: Pumps,
    journal: Journal,
    ended: watch::Sender<Option<LaneEnd>>,
}

impl Watch {
    /// Returns the tasks of wires that are still open.
    async fn run(mut self) -> Pumps {
        let leaving = self.leaving.clone();
        let sign = tokio::select! {
            biased;
            () = leaving.cancelled() => None,
            broken = self.first_sign() => Some(broken),
        };
        let end = match sign {
            None => LaneEnd { class: EndClass::TakenDown, how: "the lane was taken down".to_owned() },
            Some(broken) => {
                // It may be only the first sign.
                let _ = tokio::time::timeout(END_SIGNS, leaving.cancelled()).await;
                self.judge(broken)
            }
        };
        self.serial_stop.cancel();
        let is_leaving = leaving.is_cancelled();
        if is_leaving {
            close(self.console.as_ref(), self.qmp.as_ref()).await;
        }
        let is_closed = |wire| is_leaving || !matches!(wire, Wire::Open);
        let (console, qmp) = (is_closed(self.console_wire()), is_closed(self.qmp_wire()));
        let serial = self.pumps.serial.take();
        let console = self.pumps.console.take_if(|_| console);
        let qmp = self.pumps.qmp.take_if(|_| qmp);
        for pump in [serial, console, qmp].into_iter().flatten() {
            finish(pump).await;
        }
        let body = Body::LaneEnded { how: end.how.clone(), by_guest: end.class.by_guest() };
        self.journal.append(Source::Lane, body);
        self.ended.send_replace(Some(end));
        self.pumps
    }

    /// Resolves at the first sign of an end; says how a wire broke, if that is what it is.
    async fn first_sign(&mut self) -> Option<String> {
        let mut ending = self.ending.clone();
        let told = async {
            let is_end = |ending: &Ending| ending.stopped.is_some() || ending.shutdown_reason.is_some();
            if ending.wait_for(is_end).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let console = self.console.clone();
        let console_closed = async {
            match &console {
                Some(console) => console.ended().await,
                // Without a console this is a branch of the `select` below that never wins.
                None => std::future::pending().await,
            }
        };
        let blind = async {
            match &console {
                Some(console) => console.display_failure().await,
                // Without a console this is a branch of the `select` below that never wins.
                None => std::future::pending().await,
            }
        };
        let qmp_closed = async {
            match &self.qmp_closed {
                Some(closed) => closed.cancelled().await,
                // Without a monitor it is a branch of the `select` below that never wins.
                None => std::future::pending().await,
            }
        };
        let journal = self.journal.clone();
        tokio::select! {
            () = told => None,
            how = journal.disk_failure() => Some(how),
            () = console_closed => None,
            () = qmp_closed => None,
            how = blind => Some(format!("the screen can no longer be seen: {how}")),
            how = unreadable(self.reading.take()) => Some(format!("the serial log can no longer be read: {how}")),
        }
    }

    fn console_wire(&self) -> Wire {
        match self.console.as_ref().map(|console| console.end()) {
            None => Wire::Absent,
            Some(None) => Wire::Open,
            Some(Some(CloseReason::Failed(why))) => Wire::Failed(why),
            Some(Some(moved @ CloseReason::Moved(_))) => Wire::Moved(moved.to_string()),
            Some(Some(CloseReason::ServerClosed | CloseReason::Shutdown)) => Wire::Closed,
        }
    }

    fn qmp_wire(&self) -> Wire {
        match self.qmp_closed.as_ref().map(CancellationToken::is_cancelled) {
            None => Wire::Absent,
            Some(false) => Wire::Open,
            Some(true) => Wire::Closed,
        }
    }

    fn judge(&self, broken: Option<String>) -> LaneEnd {
        let ending = self.ending.borrow().clone();
        let end = |class, how: &str| LaneEnd { class, how: how.to_owned() };
        let host = |how: &str| end(EndClass::Host, how);
        // What becomes of the machine that was left behind is of no interest.
        if let Wire::Moved(how) = self.console_wire() {
            return host(&format!("{how}; it has to be attached to there"));
        }
        match ending.shutdown_reason.as_deref() {
            Some("guest-shutdown") => return end(EndClass::GuestShutdown, "the guest powered off"),
            Some("guest-reset") => return end(EndClass::GuestReset, "the guest reset the machine"),
            Some(reason) => return host(&format!("somebody else ended the machine (QMP says: {reason})")),
            None => {}
        }
        if let Some(stopped) = &ending.stopped {
            return host(&stopped.to_string());
        }
        match (self.console_wire(), self.qmp_wire(), broken) {
            (Wire::Closed | Wire::Moved(_) | Wire::Failed(_) | Wire::Absent, Wire::Closed, _) => {
                host("the machine is gone, and QMP said no word of it: it was killed, or it crashed")
            }
            (Wire::Failed(why), ..) => host(&format!("the console failed: {why}")),
            (Wire::Closed, Wire::Absent, _) => end(
                EndClass::Closed,
                "the console was closed by the other side: the machine ended, or another client took the console over",
            ),
            (Wire::Closed, ..) => host(
                "the console was closed by the other side while the machine goes on: another client took it over, or \
                 its owner shut it",
            ),
            (_, _, Some(broken)) => host(&broken),
            (_, Wire::Closed, None) => host("QMP was closed by the other side while the console goes on"),
            (..) => host("a wire of the lane broke"),
        }
    }
}

/// What became of a connection.
enum Wire {
    /// It is not configured.
    Absent,
    Open,
    Closed,
    /// The machine was migrated.
    Moved(String),
    Failed(String),
}

/// Resolves when the serial log cannot be read any more.
async fn unreadable(reading: Option<JoinHandle<Result<(), SerialError>>>) -> String {
    let read = match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    };
    match read {
        Ok(Err(error)) => error.source.to_string(),
        _ => std::future::pending().await,
    }
}

/// For QEMU's greeting, which it sends at once unless somebody else is connected.
const GREETING: Duration = Duration::from_secs(5);
/// For connecting to a control socket when no gate says how long a machine may take, and at least. Its server may be
/// busy with another client.
const CONTROL_CONNECTS: Duration = Duration::from_secs(30);
const CONTROL_CONNECTS_AT_LEAST: Duration = Duration::from_secs(10);
/// For an answer of a control socket's server.
const CONTROL_ANSWERS: Duration = Duration::from_secs(20);
/// For files that are read, which may be pipes.
const READING: Duration = Duration::from_secs(20);
/// Connection files and tickets are smaller.
const TEXT_LIMIT: u64 = 1_024 * 1_024;
