//! What a scenario may do to its machine beyond typing: pause, reset, save and put back, ask its monitor.
//!
//! Every call is noted in the journal. It decides nothing about the lane's life: a machine that ends because of what
//! was done here is reported by the lane as any other end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::sync::broadcast::error::RecvError;
use visual_digest::ChannelHashes;

use super::profile::QmpAllow;
use super::qmp::{QmpClient, QmpEnd, QmpError};
use super::snapshot::{SnapshotError, Snapshots};
use crate::console::Console;
use crate::journal::{Body, Cursor, Event, Journal, Source};

/// A machine's controls. A clone controls the same machine.
#[derive(Clone)]
pub struct MachineControl {
    inner: Arc<Inner>,
}

struct Inner {
    qmp: QmpClient,
    journal: Journal,
    allow: QmpAllow,
    exits_on_reset: bool,
    snapshots: Option<Snapshots>,
    console: Option<Arc<dyn Console>>,
    /// Taken while something is done to the machine.
    turn: Mutex<()>,
}

/// Why the machine did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    /// The profile does not allow this command.
    #[error("the profile does not allow `{command}`")]
    NotAllowed {
        /// The command.
        command: String,
        /// What it allows.
        allowed: Vec<String>,
    },
    /// QEMU refused or is gone.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// No snapshot was taken, or none can be gone back to.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// This lane takes no snapshots.
    #[error("this lane takes no snapshots")]
    NoSnapshots,
    /// The machine did not get there in time.
    #[error("{what}: not within {after:?}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        after: Duration,
    },
}

impl ControlError {
    /// Returns what to do about it, if that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotAllowed { command, allowed } => Some(format!(
                "allowed are {}; add `allow = [\"{command}\"]` under `[qmp]` in the profile",
                allowed.join(", ")
            )),
            Self::Snapshot(SnapshotError::Unknown { known, .. }) if known.is_empty() => {
                Some("take one first: `t.lane:snapshot(name)`".to_owned())
            }
            Self::Snapshot(SnapshotError::Unknown { near: None, known, .. }) => {
                Some(format!("there are {}", known.join(", ")))
            }
            Self::NoSnapshots => {
                Some("name `needs = { \"snapshot\" }`, so that it is skipped on such a lane".to_owned())
            }
            Self::Snapshot(_) | Self::Qmp(_) | Self::Timeout { .. } => None,
        }
    }
}

impl MachineControl {
    pub(super) fn new(qmp: QmpClient, journal: Journal, allow: QmpAllow, exits_on_reset: bool) -> Self {
        let (snapshots, console, turn) = (None, None, Mutex::default());
        Self { inner: Arc::new(Inner { qmp, journal, allow, exits_on_reset, snapshots, console, turn }) }
    }

    /// The same machine, which takes snapshots, with its console if it has one.
    pub(super) fn with_snapshots(self, snapshots: Snapshots, console: Option<Arc<dyn Console>>) -> Self {
        let Inner { qmp, journal, allow, exits_on_reset, .. } = &*self.inner;
        let (qmp, journal, allow) = (qmp.clone(), journal.clone(), allow.clone());
        let (exits_on_reset, snapshots, turn) = (*exits_on_reset, Some(snapshots), Mutex::default());
        Self { inner: Arc::new(Inner { qmp, journal, allow, exits_on_reset, snapshots, console, turn }) }
    }

    /// Stops the machine's clock and processors.
    ///
    /// # Errors
    /// QEMU refuses or is gone.
    pub async fn pause(&self) -> Result<(), ControlError> {
        let inner = Arc::clone(&self.inner);
        self.carry_out("pause", None, async move { inner.execute("stop", Value::Null).await.map(drop) }).await
    }

    /// Lets a paused machine go on.
    ///
    /// # Errors
    /// QEMU refuses or is gone.
    pub async fn resume(&self) -> Result<(), ControlError> {
        let inner = Arc::clone(&self.inner);
        self.carry_out("resume", None, async move { inner.execute("cont", Value::Null).await.map(drop) })
            .await
    }

    /// Whether the machine rests, whoever made it.
    ///
    /// # Errors
    /// QEMU refuses or is gone.
    pub async fn is_paused(&self) -> Result<bool, ControlError> {
        Ok(!self.inner.is_running().await?)
    }

    /// Presses the reset button and returns when the machine has begun anew, also on a lane that a reset by the *guest*
    /// would end; a paused machine stays paused. What the machine says afterwards lies after the cursor returned.
    ///
    /// # Errors
    /// QEMU refuses or is gone, or there was no reset in time.
    pub async fn reset(&self) -> Result<Cursor, ControlError> {
        let inner = Arc::clone(&self.inner);
        self.carry_out("reset", None, async move { inner.reset().await }).await
    }

    /// Presses the power button. What the guest makes of it is its own business.
    ///
    /// # Errors
    /// QEMU refuses or is gone.
    pub async fn powerdown(&self) -> Result<(), ControlError> {
        let inner = Arc::clone(&self.inner);
        let run = async move { inner.execute("system_powerdown", Value::Null).await.map(drop) };
        self.carry_out("powerdown", None, run).await
    }

    /// Sends a QMP command that the profile allows, and returns its answer.
    ///
    /// # Errors
    /// The profile does not allow it, or QEMU refuses or is gone.
    pub async fn qmp(&self, command: &str, arguments: Map<String, Value>) -> Result<Value, ControlError> {
        let (inner, name) = (Arc::clone(&self.inner), command.to_owned());
        let run = async move {
            if !inner.allow.allows(&name) {
                return Err(ControlError::NotAllowed { command: name, allowed: inner.allow.0.clone() });
            }
            inner.execute(&name, Value::Object(arguments)).await
        };
        self.carry_out("qmp", Some(command), run).await
    }

    /// Keeps the machine as it is now under `name`, for as long as this machine runs.
    ///
    /// # Errors
    /// The name is none, the lane takes no snapshots, or QEMU refuses or is gone.
    pub async fn snapshot(&self, name: &str) -> Result<(), ControlError> {
        let (inner, own) = (Arc::clone(&self.inner), name.to_owned());
        self.carry_out("snapshot", Some(name), async move { inner.snapshot(own).await }).await
    }

    /// Puts the machine back to the snapshot `name`, and returns when it has shown that it goes on from there; a paused
    /// machine stays paused. What the machine says afterwards lies after the cursor returned, what it said before lies
    /// before it. The record of what it said is not put back.
    ///
    /// # Errors
    /// There is no such snapshot, the machine does not go on, or QEMU refuses or is gone.
    pub async fn restore(&self, name: &str) -> Result<Cursor, ControlError> {
        let (inner, own) = (Arc::clone(&self.inner), name.to_owned());
        self.carry_out("restore", Some(name), async move { inner.restore(&own).await }).await
    }

    /// Does one thing after the other, each to its end also when nobody waits for it any more: a machine that was given
    /// up half way through a reset would take every later one for its end.
    async fn carry_out<T: Send + 'static>(
        &self,
        command: &'static str,
        detail: Option<&str>,
        run: impl Future<Output = Result<T, ControlError>> + Send + 'static,
    ) -> Result<T, ControlError> {
        let (inner, detail) = (Arc::clone(&self.inner), detail.map(str::to_owned));
        let task = tokio::spawn(async move {
            let _turn = inner.turn.lock().await;
            let began = Instant::now();
            let result = run.await;
            let body = Body::LaneCommand {
                command: command.to_owned(),
                detail,
                took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                error: result.as_ref().err().map(ToString::to_string),
            };
            inner.journal.append(Source::Lane, body);
            result
        });
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(QmpError::Ended { command: command.to_owned(), reason: QmpEnd::Closed }.into()),
        }
    }
}

impl Inner {
    async fn reset(&self) -> Result<Cursor, ControlError> {
        let was_running = self.come_to_rest().await?;
        let since = self.put_back(None, None);
        let reset = self.reset_at_rest().await;
        if was_running {
            self.execute("cont", Value::Null).await?;
        }
        reset.map(|()| since)
    }

    async fn reset_at_rest(&self) -> Result<(), ControlError> {
        let action = |reboot: &str| json!({ "reboot": reboot });
        let mut events = self.qmp.subscribe();
        if self.exits_on_reset {
            self.execute("set-action", action("reset")).await?;
        }
        let has_reset = async {
            self.execute("system_reset", Value::Null).await?;
            let Some(events) = events.as_mut() else { return Ok(()) };
            loop {
                match events.recv().await {
                    Ok(event) if event.name == "RESET" => return Ok(()),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(()),
                }
            }
        };
        let what = "the machine's reset";
        let timed_out = |_| ControlError::Timeout { what, after: ANSWER };
        let reset = tokio::time::timeout(ANSWER, has_reset).await.map_err(timed_out).flatten();
        if self.exits_on_reset {
            self.execute("set-action", action("shutdown")).await?;
        }
        reset
    }

    async fn snapshot(&self, name: String) -> Result<(), ControlError> {
        let snapshots = self.snapshots.as_ref().ok_or(ControlError::NoSnapshots)?;
        Ok(snapshots.save(&self.qmp, &name, self.hashes()).await?)
    }

    async fn restore(&self, name: &str) -> Result<Cursor, ControlError> {
        let snapshots = self.snapshots.as_ref().ok_or(ControlError::NoSnapshots)?;
        let hashes = snapshots.hashes_of(name).await?;
        let was_running = self.come_to_rest().await?;
        self.hold_screen(true);
        let loaded = snapshots.load(&self.qmp, name).await;
        // A machine that rests sends the picture it was put back to.
        let settled = self.settle().await;
        self.hold_screen(false);
        let since = self.put_back(Some(name), hashes);
        if was_running {
            self.execute("cont", Value::Null).await?;
        }
        loaded?;
        settled?;
        if hashes.is_some() {
            self.shows_a_digest(since, was_running).await?;
        }
        Ok(since)
    }

    /// Stops the machine, and returns whether it ran.
    async fn come_to_rest(&self) -> Result<bool, ControlError> {
        let was_running = self.is_running().await?;
        self.execute("stop", Value::Null).await?;
        self.settle().await?;
        Ok(was_running)
    }

    /// Waits until what a resting machine has to send has arrived and was looked at.
    async fn settle(&self) -> Result<(), ControlError> {
        tokio::time::sleep(REFRESHES).await;
        // An answer tells that QEMU was round once more.
        self.is_running().await?;
        if !self.journal.after(Source::Screen, Cursor::default()).is_empty() {
            let arrived = self.journal.silence(Source::Screen, LAST_DRAWS);
            let _ = tokio::time::timeout(SETTLED, arrived).await;
        }
        Ok(())
    }

    /// Waits for the digest of a machine that was put back. One that rests may have been saved while it drew it.
    async fn shows_a_digest(&self, mut since: Cursor, is_running: bool) -> Result<(), ControlError> {
        let is_digest = |event: &Event| matches!(event.body, Body::DigestUpdated { .. });
        let shown = self.journal.next_match(Source::Digest, &mut since, is_digest);
        let after = if is_running { GOES_ON } else { SETTLED };
        match tokio::time::timeout(after, shown).await {
            Err(_) if is_running => {
                Err(ControlError::Timeout { what: "a restored machine's digest", after: GOES_ON })
            }
            _ => Ok(()),
        }
    }

    fn hold_screen(&self, holds: bool) {
        if let Some(console) = &self.console {
            console.hold_screen(holds);
        }
    }

    /// Notes that what the machine says from now on it says from an earlier point.
    fn put_back(&self, snapshot: Option<&str>, hashes: Option<ChannelHashes>) -> Cursor {
        let body = Body::PutBack { snapshot: snapshot.map(str::to_owned), hashes };
        Cursor(self.journal.append(Source::Lane, body))
    }

    /// Those of the newest digest.
    fn hashes(&self) -> Option<ChannelHashes> {
        let events = self.journal.after(Source::Digest, Cursor::default());
        events.iter().rev().find_map(|event| match &event.body {
            Body::DigestUpdated { digest, .. } => digest.channel_hashes,
            _ => None,
        })
    }

    async fn is_running(&self) -> Result<bool, ControlError> {
        Ok(self.execute("query-status", Value::Null).await?["running"] == true)
    }

    async fn execute(&self, command: &str, arguments: Value) -> Result<Value, ControlError> {
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            _ => Map::new(),
        };
        Ok(self.qmp.execute(command, arguments, ANSWER).await?)
    }
}

/// Two of QEMU's refreshes of a screen, which come every 30 ms.
const REFRESHES: Duration = Duration::from_millis(70);
/// Without a draw, so that what was sent has arrived and was looked at.
const LAST_DRAWS: Duration = Duration::from_millis(40);
/// For a machine at rest to have sent everything.
const SETTLED: Duration = Duration::from_millis(500);
/// For a machine that was put back to show a digest.
const GOES_ON: Duration = Duration::from_secs(20);
/// For an answer of QEMU's, and for a reset.
const ANSWER: Duration = Duration::from_secs(20);
