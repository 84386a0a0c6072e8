//! The end of a machine: ask through QMP, then SIGTERM, then SIGKILL, each after a grace period.
//!
//! Asking the *guest* to end is the caller's business and comes before. Calling this again is harmless, also
//! after an earlier call was dropped half way; that is how a second interrupt goes straight to the last rung.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Map;

use super::process::{ExitFacts, QemuProcess};
use super::qmp::QmpClient;

/// How long each rung may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TeardownConfig {
    /// After QMP `quit`; zero leaves the rung out.
    pub quit_grace: Duration,
    /// After SIGTERM; zero leaves the rung out.
    pub terminate_grace: Duration,
    /// After SIGKILL, until the system has let go of it.
    pub kill_grace: Duration,
}

impl Default for TeardownConfig {
    fn default() -> Self {
        let grace = Duration::from_secs(2);
        Self { quit_grace: grace, terminate_grace: grace, kill_grace: Duration::from_secs(5) }
    }
}

impl TeardownConfig {
    /// Returns the ladder that has only its last rung.
    pub fn at_once() -> Self {
        Self { quit_grace: Duration::ZERO, terminate_grace: Duration::ZERO, ..Self::default() }
    }
}

/// What made a machine end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// It had ended before anybody asked.
    Ended,
    /// QMP `quit`.
    Quit,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What became of a teardown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeardownReport {
    /// The last rung that was tried.
    pub rung: Rung,
    /// How the process ended; `None` if it outlived even the last rung.
    pub exit: Option<Arc<ExitFacts>>,
    /// How long it took.
    pub took: Duration,
    /// Sockets that were still there and could not be removed.
    pub left_behind: Vec<PathBuf>,
}

/// Ends `process` and removes `sockets`, which are names in `folder`.
pub async fn teardown(
    process: &QemuProcess,
    qmp: Option<&QmpClient>,
    folder: &Path,
    sockets: &[&str],
    config: TeardownConfig,
) -> TeardownReport {
    let started = Instant::now();
    let (rung, exit) = climb(process, qmp, config).await;
    let left_behind = sockets.iter().map(|name| folder.join(name)).filter(|path| !remove(path)).collect();
    TeardownReport { rung, exit, took: started.elapsed(), left_behind }
}

async fn climb(
    process: &QemuProcess,
    qmp: Option<&QmpClient>,
    config: TeardownConfig,
) -> (Rung, Option<Arc<ExitFacts>>) {
    if let Some(exit) = process.exit_watch().now() {
        return (Rung::Ended, Some(exit));
    }
    if let Some(qmp) = qmp.filter(|_| !config.quit_grace.is_zero()) {
        let exit = quit(process, qmp, config.quit_grace).await;
        if exit.is_some() {
            return (Rung::Quit, exit);
        }
    }
    // A signal that cannot be sent is like one that has no effect: the next rung follows.
    if !config.terminate_grace.is_zero() && process.terminate().is_ok() {
        let exit = ended_within(process, config.terminate_grace).await;
        if exit.is_some() {
            return (Rung::Terminate, exit);
        }
    }
    let _ = process.kill();
    (Rung::Kill, ended_within(process, config.kill_grace).await)
}

async fn quit(process: &QemuProcess, qmp: &QmpClient, grace: Duration) -> Option<Arc<ExitFacts>> {
    let asked_and_ended = async {
        // QEMU may be gone before it has answered, so the answer does not matter; only a connection that is
        // gone while QEMU is not makes waiting pointless.
        let answer = qmp.execute("quit", Map::new(), grace).await;
        match answer {
            Ok(_) => Some(process.exited().await),
            Err(_) => ended_within(process, GONE_GRACE).await,
        }
    };
    tokio::time::timeout(grace, asked_and_ended).await.ok().flatten()
}

/// From the end of QMP to the end of the process, when QEMU is ending anyway.
const GONE_GRACE: Duration = Duration::from_millis(500);

async fn ended_within(process: &QemuProcess, grace: Duration) -> Option<Arc<ExitFacts>> {
    tokio::time::timeout(grace, process.exited()).await.ok()
}

fn remove(path: &Path) -> bool {
    match std::fs::remove_file(path) {
        Ok(()) => true,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}
