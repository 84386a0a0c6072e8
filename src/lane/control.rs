//! What a scenario may do to its machine beyond typing: pause, reset, save and put back, ask its monitor.
//!
//! Every call is noted in the journal. It decides nothing about the lane's life: a machine that ends because of what
//! was done here is reported by the lane as any other end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::profile::QmpAllow;
use super::qmp::{QmpClient, QmpError};
use super::snapshot::{SnapshotError, Snapshots};
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
    /// What shows that the machine goes on.
    sign: Sign,
}

/// By what a machine shows that it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Digest,
    Draw,
    Nothing,
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
        let inner = Inner { qmp, journal, allow, exits_on_reset, snapshots: None, sign: Sign::Nothing };
        Self { inner: Arc::new(inner) }
    }

    /// The same machine, which takes snapshots.
    pub(super) fn with_snapshots(self, snapshots: Snapshots, sign: Sign) -> Self {
        let Inner { qmp, journal, allow, exits_on_reset, .. } = &*self.inner;
        let (qmp, journal, allow) = (qmp.clone(), journal.clone(), allow.clone());
        let exits_on_reset = *exits_on_reset;
        let snapshots = Some(snapshots);
        Self { inner: Arc::new(Inner { qmp, journal, allow, exits_on_reset, snapshots, sign }) }
    }

    /// Stops the machine's clock and processors.
    ///
    /// # Errors
    /// QEMU refuses or is gone.
    pub async fn pause(&self) -> Result<(), ControlError> {
        self.noted("pause", None, async { self.execute("stop", Value::Null).await.map(drop) }).await
    }

    /// Lets a paused machine go on.
    ///
    /// # Errors
    /// QEMU refuses or is gone.
    pub async fn resume(&self) -> Result<(), ControlError> {
        self.noted("resume", None, async { self.execute("cont", Value::Null).await.map(drop) }).await
    }

    /// Presses the reset button and returns when the machine has begun anew, also on a lane that a reset by the *guest*
    /// would end.
    ///
    /// # Errors
    /// QEMU refuses or is gone, or there was no reset in time.
    pub async fn reset(&self) -> Result<(), ControlError> {
        self.noted("reset", None, self.reset_unnoted()).await
    }

    async fn reset_unnoted(&self) -> Result<(), ControlError> {
        let action = |reboot: &str| json!({ "reboot": reboot });
        let mut events = self.inner.qmp.subscribe();
        if self.inner.exits_on_reset {
            self.execute("set-action", action("reset")).await?;
        }
        self.execute("system_reset", Value::Null).await?;
        let has_reset = async {
            let Some(events) = events.as_mut() else { return };
            loop {
                match events.recv().await {
                    Ok(event) if event.name == "RESET" => return,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        };
        let what = "the machine's reset";
        let timed_out = |_| ControlError::Timeout { what, after: ANSWER };
        tokio::time::timeout(ANSWER, has_reset).await.map_err(timed_out)?;
        if self.inner.exits_on_reset {
            self.execute("set-action", action("shutdown")).await?;
        }
        Ok(())
    }

    /// Presses the power button. What the guest makes of it is its own business.
    ///
    /// # Errors
    /// QEMU refuses or is gone.
    pub async fn powerdown(&self) -> Result<(), ControlError> {
        self.noted("powerdown", None, async { self.execute("system_powerdown", Value::Null).await.map(drop) })
            .await
    }

    /// Sends a QMP command that the profile allows, and returns its answer.
    ///
    /// # Errors
    /// The profile does not allow it, or QEMU refuses or is gone.
    pub async fn qmp(&self, command: &str, arguments: Map<String, Value>) -> Result<Value, ControlError> {
        let run = async {
            if !self.inner.allow.allows(command) {
                let (command, allowed) = (command.to_owned(), self.inner.allow.0.clone());
                return Err(ControlError::NotAllowed { command, allowed });
            }
            self.execute(command, Value::Object(arguments)).await
        };
        self.noted("qmp", Some(command), run).await
    }

    /// Keeps the machine as it is now under `name`, for as long as this machine runs.
    ///
    /// # Errors
    /// The name is none, the lane takes no snapshots, or QEMU refuses or is gone.
    pub async fn snapshot(&self, name: &str) -> Result<(), ControlError> {
        let run = async {
            let snapshots = self.inner.snapshots.as_ref().ok_or(ControlError::NoSnapshots)?;
            Ok(snapshots.save(&self.inner.qmp, name).await?)
        };
        self.noted("snapshot", Some(name), run).await
    }

    /// Puts the machine back to the snapshot `name`, and returns when it has shown that it goes on from there; a paused
    /// machine stays paused. What the machine says afterwards lies after the cursor returned, what it said before lies
    /// before it. The record of what it said is not put back.
    ///
    /// # Errors
    /// There is no such snapshot, the machine does not go on, or QEMU refuses or is gone.
    pub async fn restore(&self, name: &str) -> Result<Cursor, ControlError> {
        self.noted("restore", Some(name), self.restore_unnoted(name)).await
    }

    async fn restore_unnoted(&self, name: &str) -> Result<Cursor, ControlError> {
        let Inner { qmp, journal, snapshots, sign, .. } = &*self.inner;
        let snapshots = snapshots.as_ref().ok_or(ControlError::NoSnapshots)?;
        snapshots.check(name).await?;
        let was_running = self.execute("query-status", Value::Null).await?["running"] == true;
        self.execute("stop", Value::Null).await?;
        // What was drawn before is on its way still.
        tokio::time::sleep(LAST_DRAWS).await;
        let before = Cursor(journal.newest());
        let loaded = snapshots.load(qmp, name).await;
        if was_running {
            self.execute("cont", Value::Null).await?;
        }
        loaded?;
        if was_running {
            let what = "a restored machine's next picture";
            let shows = sign.shows(journal, before);
            let timed_out = |_| ControlError::Timeout { what, after: GOES_ON };
            tokio::time::timeout(GOES_ON, shows).await.map_err(timed_out)?;
        }
        Ok(before)
    }

    async fn execute(&self, command: &str, arguments: Value) -> Result<Value, ControlError> {
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            _ => Map::new(),
        };
        Ok(self.inner.qmp.execute(command, arguments, ANSWER).await?)
    }

    async fn noted<T>(
        &self,
        command: &str,
        detail: Option<&str>,
        run: impl Future<Output = Result<T, ControlError>>,
    ) -> Result<T, ControlError> {
        let began = Instant::now();
        let result = run.await;
        let body = Body::LaneCommand {
            command: command.to_owned(),
            detail: detail.map(str::to_owned),
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            error: result.as_ref().err().map(ToString::to_string),
        };
        self.inner.journal.append(Source::Lane, body);
        result
    }
}

impl Sign {
    async fn shows(self, journal: &Journal, mut cursor: Cursor) {
        match self {
            Self::Nothing => {}
            Self::Draw => {
                let is_draw = |event: &Event| matches!(event.body, Body::SurfaceDrawn { .. });
                journal.next_match(Source::Screen, &mut cursor, is_draw).await;
            }
            Self::Digest => {
                let is_digest = |event: &Event| matches!(event.body, Body::DigestUpdated { .. });
                journal.next_match(Source::Digest, &mut cursor, is_digest).await;
            }
        }
    }
}

const LAST_DRAWS: Duration = Duration::from_millis(20);
/// For a machine that was put back to show something.
const GOES_ON: Duration = Duration::from_secs(20);
/// For an answer of QEMU's, and for a reset.
const ANSWER: Duration = Duration::from_secs(20);
