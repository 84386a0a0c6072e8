//! A QEMU that can be started in no time: a machine without a board.

use std::path::{Path, PathBuf};
use std::time::Duration;

use backstaff::lane::Platform;
use backstaff::lane::platform_detect::DetectConfig;
use backstaff::lane::process::{QemuProcess, SpawnOptions};
use backstaff::lane::qmp::{QmpClient, QmpEvents};

/// Longer than anything here takes, also on a busy host.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Describes this host, or says why the test is skipped.
pub(super) async fn platform_or_skip(test: &str) -> Option<Platform> {
    match Platform::detect(&DetectConfig::new(std::env::var_os("PATH").unwrap_or_default())).await {
        Ok(platform) => Some(platform),
        Err(error) => {
            eprintln!("SKIPPED {test}: {error}");
            None
        }
    }
}

/// A board-less QEMU with QMP and whatever `more` says.
pub(super) fn boardless(platform: &Platform, more: &[&str]) -> Vec<String> {
    let fixed =
        ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", "unix:qmp.sock,server=on,wait=off"];
    let words = fixed.iter().chain(more).map(|word| (*word).to_owned());
    std::iter::once(platform.qemu.clone()).chain(words).collect()
}

pub(super) async fn spawn(argv: &[String], folder: &Path) -> QemuProcess {
    QemuProcess::spawn(SpawnOptions { argv, folder, log: "qemu.log" }).await.unwrap()
}

pub(super) async fn connect(folder: &Path) -> (QmpClient, QmpEvents) {
    QmpClient::connect(folder, "qmp.sock", PATIENCE).await.unwrap()
}

/// The repository.
pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a process is there, a zombie not counting.
pub(super) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}
