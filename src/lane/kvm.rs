//! Proves KVM by running firmware under it for a moment: `/dev/kvm` can open and still end every guest.
//!
//! The outcome holds for the host, so it is found out once in the life of the program.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Map;
use tokio::sync::OnceCell;

use super::plan::{QEMU_LOG, QMP_SOCKET};
use super::platform::{KvmDevice, KvmProof, Platform};
use super::process::{QemuProcess, SpawnError, SpawnOptions};
use super::qmp::{QmpClient, QmpEvents};
use super::teardown::{TeardownConfig, teardown};

/// How long the guest must run to count.
///
/// Where KVM is broken for guests it was seen to stop within 200 ms.
pub const KVM_WATCH: Duration = Duration::from_millis(1_000);

/// Why there is no proof either way.
#[derive(Debug, thiserror::Error)]
pub enum KvmProofError {
    /// No folder to run it in.
    #[error("make folder {path:?} for the KVM trial")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// QEMU did not start.
    #[error("start the KVM trial")]
    Spawn(#[from] SpawnError),
}

/// Runs a guest under KVM for a moment, the first time; later calls return what came out then.
///
/// `scratch` is a folder for the trial's files; it is made if need be and removed afterwards. `deadline` bounds
/// the time until QEMU answers; the guest is then watched for [`KVM_WATCH`].
///
/// # Errors
///
/// When the trial itself could not be held; that is not remembered.
pub async fn prove_kvm(
    platform: &Platform,
    scratch: &Path,
    deadline: Duration,
) -> Result<KvmProof, KvmProofError> {
    static PROOF: OnceCell<KvmProof> = OnceCell::const_new();
    PROOF.get_or_try_init(|| try_kvm(platform, scratch, deadline)).await.cloned()
}

/// As [`prove_kvm`], and remembers nothing.
pub(super) async fn try_kvm(
    platform: &Platform,
    scratch: &Path,
    deadline: Duration,
) -> Result<KvmProof, KvmProofError> {
    if !platform.accelerators.iter().any(|name| name == "kvm") {
        return Ok(KvmProof::Broken { reason: "this QEMU is built without KVM".to_owned() });
    }
    if let KvmDevice::Unusable { reason } = &platform.kvm_device {
        return Ok(KvmProof::Broken { reason: format!("/dev/kvm does not open: {reason}") });
    }
    fs::create_dir_all(scratch)
        .map_err(|source| KvmProofError::Folder { path: scratch.to_owned(), source })?;
    let argv = trial_argv(platform);
    let process = QemuProcess::spawn(SpawnOptions { argv: &argv, folder: scratch, log: QEMU_LOG }).await?;
    let proof = watch(&process, scratch, deadline).await;
    teardown(&process, None, scratch, &[QMP_SOCKET], TeardownConfig::at_once()).await;
    // Nothing of it is worth keeping, and a folder that stays is harmless.
    let _ = fs::remove_file(scratch.join(QEMU_LOG));
    let _ = fs::remove_dir(scratch);
    Ok(proof)
}

fn trial_argv(platform: &Platform) -> Vec<String> {
    let mut argv: Vec<String> = vec![platform.qemu.clone()];
    let fixed = "-machine q35,accel=kvm -nodefaults -no-user-config -display none -S -m 64";
    argv.extend(fixed.split(' ').map(str::to_owned));
    // SeaBIOS, QEMU's default, lives mostly in real mode; UEFI is what lanes run.
    if let Some(image) = &platform.firmware.single {
        argv.extend(["-bios".to_owned(), image.clone()]);
    }
    argv.extend(["-qmp".to_owned(), format!("unix:{QMP_SOCKET},server=on,wait=off")]);
    argv
}

async fn watch(process: &QemuProcess, folder: &Path, deadline: Duration) -> KvmProof {
    let mut exit = process.exit_watch();
    let trial = async {
        let (qmp, events) =
            QmpClient::connect(folder, QMP_SOCKET, deadline).await.map_err(|error| error.to_string())?;
        qmp.execute("cont", Map::new(), deadline).await.map_err(|error| error.to_string())?;
        let started = Instant::now();
        let stopped = tokio::time::timeout(KVM_WATCH, stop(events)).await;
        let ran_for = started.elapsed();
        let status =
            qmp.execute("query-status", Map::new(), deadline).await.map_err(|error| error.to_string())?;
        let status = status["status"].as_str().unwrap_or("untold").to_owned();
        match (stopped, status.as_str()) {
            (Err(_), "running") => Ok(()),
            _ => Err(format!("the guest stopped after {} ms, QMP status {status}", ran_for.as_millis())),
        }
    };
    // Both arms only observe. An end without a word on QMP is best explained by QEMU's last words.
    let outcome = tokio::select! {
        biased;
        facts = exit.wait() => Err(format!("QEMU ended with {facts}: {}", last_line(&facts.last_words))),
        outcome = trial => outcome,
    };
    match outcome {
        Ok(()) => KvmProof::Works,
        Err(reason) => KvmProof::Broken { reason },
    }
}

/// Waits for the guest to stop, or for the connection to end.
async fn stop(mut events: QmpEvents) {
    while let Ok(event) = events.recv().await {
        if event.name == "STOP" {
            return;
        }
    }
}

fn last_line(words: &str) -> &str {
    words.lines().last().unwrap_or("it said nothing")
}
