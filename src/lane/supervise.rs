//! While a lane runs: its words into the journal, and its end said after everything that came before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Map;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use super::handle::{EndClass, LaneEnd};
use super::process::{ExitFacts, ExitWatch};
use super::qmp::{QmpClient, QmpEvents};
use super::serial::SerialEvent;
use crate::console::spice::SpiceConsole;
use crate::journal::{Body, Journal, Source};

/// The tasks that carry what the machine says into the journal. Each ends with its wire.
#[derive(Default)]
pub(super) struct Pumps {
    pub(super) qmp: Option<JoinHandle<()>>,
    pub(super) serial: Option<JoinHandle<()>>,
    pub(super) console: Option<JoinHandle<()>>,
}

/// Why QEMU stopped a machine by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Its way to give up on an accelerator.
    Internal,
    /// A disk could not be read or written; why, where QEMU says it.
    Disk(Option<String>),
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Internal => f.write_str("the machine stopped by itself (QMP status internal-error)"),
            Self::Disk(why) => {
                f.write_str("the machine stopped, as a disk of it fails (QMP status io-error)")?;
                why.iter().try_for_each(|why| write!(f, ": {why}"))
            }
        }
    }
}

impl Pumps {
    /// Waits until everything the machine said is in the journal. Its process has ended.
    pub(super) async fn drain(self) {
        for pump in [self.qmp, self.serial, self.console].into_iter().flatten() {
            let stop = pump.abort_handle();
            if tokio::time::timeout(LAST_WORDS, pump).await.is_err() {
                tracing::warn!("a wire of the lane did not close with its machine");
                stop.abort();
            }
        }
    }
}

/// What QMP said about the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Ending {
    pub(super) shutdown_reason: Option<String>,
    /// The machine stopped because it could not go on.
    pub(super) stopped: Option<Stopped>,
}

pub(super) async fn pump_qmp(
    qmp: QmpClient,
    mut events: QmpEvents,
    journal: Journal,
    ending: watch::Sender<Ending>,
) {
    let mut disk = None;
    loop {
        match events.recv().await {
            Ok(event) => {
                if event.name == "BLOCK_IO_ERROR" {
                    disk = event.data.get("reason").and_then(|reason| reason.as_str()).map(str::to_owned);
                }
                if event.name == "SHUTDOWN" {
                    let reason =
                        event.data.get("reason").and_then(|reason| reason.as_str()).map(str::to_owned);
                    ending.send_modify(|ending| ending.shutdown_reason = reason);
                }
                let has_stopped = event.name == "STOP";
                let body = Body::QmpEvent { name: event.name, data: event.data.into() };
                journal.append(Source::Qmp, body);
                // The event is the same for a pause that somebody asked for; only asking tells.
                if has_stopped && let Some(stopped) = gave_up(&qmp, disk.take()).await {
                    ending.send_modify(|ending| ending.stopped = Some(stopped));
                }
            }
            Err(broadcast::error::RecvError::Lagged(count)) => {
                journal.append(Source::Qmp, Body::Dropped { stream: Source::Qmp, count });
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Resolves when QEMU has stopped the machine by itself, with the reason.
pub(super) async fn stopped(ending: &mut watch::Receiver<Ending>) -> String {
    let why = ending.wait_for(|ending| ending.stopped.is_some()).await.ok();
    let why = why.and_then(|ending| ending.stopped.as_ref().map(ToString::to_string));
    match why {
        Some(why) => why,
        None => std::future::pending().await,
    }
}

/// Whether QEMU stopped because it could not go on.
async fn gave_up(qmp: &QmpClient, disk: Option<String>) -> Option<Stopped> {
    let status = qmp.execute("query-status", Map::new(), ANSWER).await.ok()?;
    match status.get("status")?.as_str()? {
        "internal-error" => Some(Stopped::Internal),
        "io-error" => Some(Stopped::Disk(disk)),
        _ => None,
    }
}

pub(super) async fn pump_serial(mut events: mpsc::Receiver<SerialEvent>, journal: Journal) {
    while let Some(event) = events.recv().await {
        let body = match event {
            SerialEvent::Line(line) => Body::SerialLine { text: line.text },
            SerialEvent::Prompt(line) => Body::SerialPrompt { text: line.text },
        };
        journal.append(Source::Serial, body);
    }
}

/// Waits for the end, then for everything said before it, then says so.
pub(super) struct Supervisor {
    pub(super) exit: ExitWatch,
    pub(super) console: Option<Arc<SpiceConsole>>,
    pub(super) ending: watch::Receiver<Ending>,
    pub(super) is_taken_down: Arc<AtomicBool>,
    pub(super) journal: Journal,
    pub(super) pumps: Pumps,
    pub(super) ended: watch::Sender<Option<LaneEnd>>,
}

impl Supervisor {
    pub(super) async fn run(mut self) {
        let facts = match self.end().await {
            Ok(facts) => facts,
            Err(how) => return self.say(LaneEnd { class: EndClass::Host, how }),
        };
        std::mem::take(&mut self.pumps).drain().await;
        let end = self.judge(&facts);
        self.say(end);
    }

    /// Waits for the end of QEMU, or for what makes the lane useless although its process lives on.
    async fn end(&mut self) -> Result<Arc<ExitFacts>, String> {
        let mut ending = self.ending.clone();
        let journal = self.journal.clone();
        let console = self.console.take();
        let blind = async {
            match &console {
                Some(console) => console.display_failure().await,
                None => std::future::pending().await,
            }
        };
        let useless = async {
            let how = tokio::select! {
                how = stopped(&mut ending) => how,
                how = journal.disk_failure() => how,
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

/// For a question to QEMU.
const ANSWER: Duration = Duration::from_secs(20);
/// From a broken wire to the end that broke it.
pub(super) const END_SIGNS: Duration = Duration::from_millis(500);
/// From the end of QEMU to the end of its wires.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);
