//! A lane without QEMU: the reference guest in this process, behind a SPICE server of our own.
//!
//! Scenarios cannot tell it from the same guest under QEMU, except that there is no QEMU: no monitor, no snapshots. Our
//! own client connects to the server through a socket in the lane's folder, and what the guest says on its serial port
//! goes through a file there, as with a machine of another process.
//!
//! Start reading at [`SimLane::up`]. [`machine`] is what the guest runs on, [`keyboard`] what it is typed on, [`faults`] what
//! goes wrong on purpose.

mod faults;
mod keyboard;
mod machine;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::faults::{Faults, InjectError};
use self::machine::{Machine, MachineEnd};
use super::bringup::{ShortFolder, state};
use super::error::LaneError;
use super::handle::{EndClass, LaneEnd, LaneHandle};
use super::plan::{SERIAL_LOG, SPICE_SOCKET};
use super::plan_sim::SimPlan;
use super::prepare::remove;
use super::profile::{SimCompression, SimProfile};
use super::readiness::{Vigil, pass};
use super::serial;
use super::speed::SpeedProbe;
use super::standstill::Standstill;
use super::supervise::{END_SIGNS, Ending, LAST_WORDS, Pumps, pump_serial};
use crate::console::spice::SpiceConsole;
use crate::console::{Console, ConsoleListener};
use crate::journal::{Body, Journal, Source};
use crate::oracle::watch::{self as oracle_watch, Digests};
use crate::spice::server::{Encoding, ServerOptions, serve};
use crate::spice::{Compression, Endpoint, Recorder, SessionOptions};

/// A simulated machine. Dropping it cuts its power; [`SimLane::down`] takes it down in order.
pub struct SimLane {
    handle: LaneHandle,
    parts: Parts,
    journal: Journal,
}

/// How to bring a simulated lane up.
#[derive(Debug, Clone, Copy)]
pub struct SimOptions<'a> {
    /// The machine.
    pub profile: &'a SimProfile,
    /// The lane's folder, which exists.
    pub folder: &'a Path,
    /// Whether the socket stays in the folder, for others to join.
    pub is_joinable: bool,
    /// Where the console is recorded.
    pub recorder: Option<&'a Recorder>,
    /// Who hears what the console tells.
    pub listener: Option<&'a Arc<dyn ConsoleListener>>,
}

/// What has been brought up so far.
struct Parts {
    socket: PathBuf,
    /// Cuts the machine's power.
    power: CancellationToken,
    _power_on_drop: DropGuard,
    machine: Option<JoinHandle<()>>,
    console: Option<Arc<SpiceConsole>>,
    pumps: Pumps,
    supervisor: Option<JoinHandle<()>>,
    is_taken_down: Arc<AtomicBool>,
}

impl SimLane {
    /// Boots the guest in `folder`, and waits for the profile's gates. A lane that does not come up, or is cancelled on
    /// the way, leaves nothing behind.
    ///
    /// # Errors
    /// See [`LaneError`].
    pub async fn up(
        options: SimOptions<'_>,
        journal: &Journal,
        cancel: &CancellationToken,
    ) -> Result<Self, LaneError> {
        let power = CancellationToken::new();
        let mut parts = Parts {
            socket: options.folder.join(SPICE_SOCKET),
            power: power.clone(),
            _power_on_drop: power.drop_guard(),
            machine: None,
            console: None,
            pumps: Pumps::default(),
            supervisor: None,
            is_taken_down: Arc::default(),
        };
        let bringing = bring_up(options, journal, &mut parts);
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

    /// Takes the lane down and waits until all it said is in the journal.
    pub async fn down(mut self) {
        self.parts.take_down(&self.journal).await;
    }
}

async fn bring_up(
    options: SimOptions<'_>,
    journal: &Journal,
    parts: &mut Parts,
) -> Result<LaneHandle, LaneError> {
    let SimOptions { profile, folder, is_joinable, recorder, listener } = options;
    state(journal, "starting", Some(profile.name.clone()));
    let (ended_sender, machine_ended) = watch::channel(None);
    let follower = serial::follow(&folder.join(SERIAL_LOG))?;
    let (events, _reading) = follower.until(end_of(machine_ended.clone()));
    parts.pumps.serial = Some(tokio::spawn(pump_serial(events, journal.clone())));

    let short = ShortFolder::open(folder)?;
    let endpoint = Endpoint::Unix(short.path(SPICE_SOCKET));
    let (encoding, compression) = encoding(profile.compression);
    let name = profile.name.clone();
    let server = ServerOptions { name, encoding, ..ServerOptions::new(endpoint.clone()) };
    let (display, inputs) = serve(server).await?;
    let session = SessionOptions {
        compression: Some(compression),
        recorder: recorder.cloned(),
        ..SessionOptions::new(endpoint)
    };
    let (console, events) = SpiceConsole::connect(session).await?;
    let console = Arc::clone(parts.console.insert(console));
    let over = parts.power.child_token();
    let faults = Faults::new(display.faults(), Arc::clone(&console), journal.clone(), over);
    let (standstill, is_still) = Standstill::of_sim();
    let serial = folder.join(SERIAL_LOG);
    let machine = Machine::new(display, inputs, &serial, profile.time_scale, faults.clone(), is_still)
        .map_err(|source| LaneError::Prepare { path: serial, source })?;
    let watched = Arc::clone(&console) as Arc<dyn Console>;
    parts.pumps.console =
        Some(oracle_watch::spawn(watched, events, journal.clone(), Digests::OnScreen, listener.cloned()));
    if !is_joinable {
        // A name that is gone cannot be left behind, whatever kills us.
        remove(&parts.socket)?;
    }
    for fault in &profile.faults {
        faults.inject(fault)?;
    }
    // From here on nothing is lost: every wire is being read, so the machine may begin.
    let ending = CancellationToken::new();
    parts.machine = Some(tokio::spawn(machine.run(parts.power.clone(), ending.clone(), ended_sender)));

    let (ended_sender, ended) = watch::channel(None);
    let supervisor = Supervisor {
        machine: machine_ended,
        console: Arc::clone(&console),
        ending,
        faults: faults.clone(),
        is_taken_down: Arc::clone(&parts.is_taken_down),
        journal: journal.clone(),
        pumps: std::mem::take(&mut parts.pumps),
        ended: ended_sender,
    };
    parts.supervisor = Some(tokio::spawn(supervisor.run()));
    let (_nobody, ending) = watch::channel(Ending::default());
    for gate in &profile.gates {
        pass(gate, None, Vigil { journal, ended: &ended, ending: &ending }).await?;
    }
    state(journal, "ready", None);
    Ok(LaneHandle {
        name: profile.name.clone(),
        capabilities: SimPlan::CAPABILITIES.into(),
        console: Some(console),
        control: None,
        faults: Some(faults),
        standstill: Some(standstill),
        speed: Some(SpeedProbe::of_this_process()),
        qemu_log: None,
        ended,
    })
}

/// Resolves with the end of the machine, also when it is gone without a word.
async fn end_of(mut machine: watch::Receiver<Option<MachineEnd>>) -> Option<MachineEnd> {
    machine.wait_for(Option::is_some).await.ok().and_then(|end| end.clone())
}

impl Parts {
    async fn take_down(&mut self, journal: &Journal) {
        let began = Instant::now();
        let Some(machine) = self.machine.take() else {
            self.power.cancel();
            self.pumps = Pumps::default();
            let _ = remove(&self.socket);
            return;
        };
        let has_ended = machine.is_finished();
        if !has_ended {
            self.is_taken_down.store(true, Ordering::Release);
        }
        state(journal, "stopping", None);
        if let Some(console) = self.console.take() {
            let _ = tokio::time::timeout(LAST_WORDS, console.close()).await;
        }
        self.power.cancel();
        let _ = tokio::time::timeout(LAST_WORDS, machine).await;
        if let Some(supervisor) = self.supervisor.take() {
            let _ = tokio::time::timeout(LAST_WORDS * 4, supervisor).await;
        }
        // A lane that did not come as far as to be supervised still holds them.
        std::mem::take(&mut self.pumps).drain().await;
        let _ = remove(&self.socket);
        let rung = if has_ended { "ended" } else { "power_cut" }.to_owned();
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        journal.append(Source::Lane, Body::Teardown { rung, took_ms });
        state(journal, "down", None);
    }
}

/// Waits for the end, then for everything said before it, then says so.
struct Supervisor {
    machine: watch::Receiver<Option<MachineEnd>>,
    console: Arc<SpiceConsole>,
    /// Cancelled when the machine ends by itself, before it closes its console.
    ending: CancellationToken,
    faults: Faults,
    is_taken_down: Arc<AtomicBool>,
    journal: Journal,
    pumps: Pumps,
    ended: watch::Sender<Option<LaneEnd>>,
}

impl Supervisor {
    async fn run(self) {
        let Self { machine, console, ending, faults, is_taken_down, journal, pumps, ended } = self;
        let useless = async {
            let how = tokio::select! {
                how = journal.disk_failure() => how,
                how = console.display_end() => format!("the screen can no longer be seen: {how}"),
                how = console.ended() => format!("the console is gone: {how}"),
            };
            // It may be only the first sign of the end.
            tokio::time::sleep(END_SIGNS).await;
            if ending.is_cancelled() || is_taken_down.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
            match faults.summary() {
                Some(faults) => format!("{how} (faults injected: {faults})"),
                None => how,
            }
        };
        let end = tokio::select! {
            end = end_of(machine) => Ok(end),
            how = useless => Err(how),
        };
        drop(console);
        let end = match end {
            Ok(end) => {
                pumps.drain().await;
                judge(end, is_taken_down.load(Ordering::Acquire))
            }
            Err(how) => LaneEnd { class: EndClass::Host, how },
        };
        let body = Body::LaneEnded { how: end.how.clone(), by_guest: end.class.by_guest() };
        journal.append(Source::Lane, body);
        ended.send_replace(Some(end));
    }
}

/// What the server does by itself and what its client asks for.
fn encoding(compression: SimCompression) -> (Encoding, Compression) {
    match compression {
        SimCompression::Off => (Encoding::Raw, Compression::Off),
        SimCompression::Lz => (Encoding::Lz, Compression::Lz),
        SimCompression::Glz => (Encoding::Glz, Compression::Glz),
        SimCompression::Quic => (Encoding::Quic, Compression::Quic),
        SimCompression::Lz4 => (Encoding::Lz4, Compression::Lz4),
    }
}

/// In the words in which the end of a QEMU is said.
fn judge(end: Option<MachineEnd>, is_taken_down: bool) -> LaneEnd {
    let (class, how) = match end {
        _ if is_taken_down => (EndClass::TakenDown, "the lane was taken down".to_owned()),
        Some(MachineEnd::PowerOff) => (EndClass::GuestShutdown, "the guest powered off".to_owned()),
        Some(MachineEnd::Reset) => (EndClass::GuestReset, "the guest reset the machine".to_owned()),
        Some(MachineEnd::PowerCut) => (EndClass::Host, "the machine's power was cut".to_owned()),
        Some(MachineEnd::SerialLog(why)) => {
            (EndClass::Host, format!("the serial log cannot be written: {why}"))
        }
        None => (EndClass::Host, "the simulated machine is gone without a word".to_owned()),
    };
    LaneEnd { class, how }
}

/// For clients to take the guest's last picture.
const LAST_PICTURE: Duration = Duration::from_secs(1);
