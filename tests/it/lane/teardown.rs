//! Every rung of the ladder, and that climbing it twice does no harm.

use std::time::Duration;

use backstaff::lane::process::QemuProcess;
use backstaff::lane::qmp::QmpClient;
use backstaff::lane::teardown::{Rung, TeardownConfig, teardown};

use super::support::{boardless, connect, is_alive, platform_or_skip, spawn};

const SHORT: TeardownConfig = TeardownConfig {
    quit_grace: Duration::from_millis(300),
    terminate_grace: Duration::from_millis(300),
    kill_grace: Duration::from_secs(20),
};

async fn qemu(test: &str) -> Option<(QemuProcess, QmpClient, tempfile::TempDir)> {
    let platform = platform_or_skip(test).await?;
    let folder = tempfile::tempdir().unwrap();
    let process = spawn(&boardless(&platform, &[]), folder.path()).await;
    let (qmp, _events) = connect(folder.path()).await;
    Some((process, qmp, folder))
}

fn freeze(process: &QemuProcess) {
    let pid = rustix::process::Pid::from_raw(process.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
}

#[tokio::test]
async fn a_healthy_qemu_goes_when_asked_and_leaves_nothing() {
    let Some((process, qmp, folder)) = qemu("teardown by quit").await else { return };
    let config = TeardownConfig::default();
    let report = teardown(&process, Some(&qmp), folder.path(), &["qmp.sock"], config).await;
    assert_eq!(report.rung, Rung::Quit);
    assert!(report.exit.unwrap().is_success() && report.left_behind.is_empty());
    assert!(!is_alive(process.pid()) && !folder.path().join("qmp.sock").exists());
}

#[tokio::test]
async fn without_qmp_it_goes_by_sigterm() {
    let Some((process, _qmp, folder)) = qemu("teardown by SIGTERM").await else { return };
    let report = teardown(&process, None, folder.path(), &["qmp.sock"], TeardownConfig::default()).await;
    assert_eq!(report.rung, Rung::Terminate);
    assert!(report.exit.unwrap().is_success(), "QEMU ends in order when terminated");
}

#[tokio::test]
async fn a_frozen_qemu_is_killed_after_every_grace() {
    let Some((process, qmp, folder)) = qemu("teardown by SIGKILL").await else { return };
    freeze(&process);
    let report = teardown(&process, Some(&qmp), folder.path(), &["qmp.sock"], SHORT).await;
    assert_eq!(report.rung, Rung::Kill);
    assert_eq!(report.exit.unwrap().signal, Some(9));
    assert!(report.took >= SHORT.quit_grace + SHORT.terminate_grace);
    assert!(!folder.path().join("qmp.sock").exists(), "a killed QEMU leaves its socket, we do not");
}

#[tokio::test]
async fn in_a_hurry_only_the_last_rung_is_used() {
    let Some((process, qmp, folder)) = qemu("teardown at once").await else { return };
    freeze(&process);
    let config = TeardownConfig::at_once();
    let report = teardown(&process, Some(&qmp), folder.path(), &["qmp.sock"], config).await;
    assert_eq!(report.rung, Rung::Kill);
    assert!(report.took < Duration::from_secs(2), "{:?}", report.took);
}

#[tokio::test]
async fn ending_what_has_ended_is_no_error() {
    let Some((process, qmp, folder)) = qemu("teardown twice").await else { return };
    let sockets = ["qmp.sock"];
    let first = teardown(&process, Some(&qmp), folder.path(), &sockets, TeardownConfig::default()).await;
    let second = teardown(&process, Some(&qmp), folder.path(), &sockets, TeardownConfig::default()).await;
    assert_eq!((first.rung, second.rung), (Rung::Quit, Rung::Ended));
    assert_eq!(first.exit, second.exit);
}

#[tokio::test]
async fn a_teardown_dropped_half_way_can_be_finished_by_another() {
    let Some((process, qmp, folder)) = qemu("teardown interrupted").await else { return };
    freeze(&process);
    let patient = teardown(&process, Some(&qmp), folder.path(), &["qmp.sock"], TeardownConfig::default());
    assert!(tokio::time::timeout(Duration::from_millis(50), patient).await.is_err());
    let config = TeardownConfig::at_once();
    let report = teardown(&process, Some(&qmp), folder.path(), &["qmp.sock"], config).await;
    assert_eq!(report.rung, Rung::Kill);
    assert!(!is_alive(process.pid()));
}
