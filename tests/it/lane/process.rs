//! QEMU's life: it starts where it should, its end is told with its last words, and it never outlives us.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use backstaff::lane::process::{QemuProcess, SpawnError, SpawnOptions};

use super::support::{PATIENCE, boardless, connect, is_alive, platform_or_skip, spawn};

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).into()
}

#[tokio::test]
async fn an_end_tells_status_and_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let process = spawn(&shell("echo out; echo wrong >&2; exit 3"), folder.path()).await;
    let facts = process.exited().await;
    assert_eq!((facts.code, facts.signal), (Some(3), None));
    assert_eq!(facts.last_words, "out\nwrong");
    assert!(facts.to_string().starts_with("status 3 after "));
}

#[tokio::test]
async fn last_words_are_bounded_and_start_with_a_whole_line() {
    let folder = tempfile::tempdir().unwrap();
    let process =
        spawn(&shell("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done"), folder.path()).await;
    let words = process.exited().await.last_words.clone();
    assert!(words.len() <= 4_096 && words.starts_with("line ") && words.ends_with("line 1999"), "{words}");
}

#[tokio::test]
async fn a_signal_is_told_as_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let process = spawn(&shell("kill -9 $$"), folder.path()).await;
    assert_eq!(process.exited().await.signal, Some(9));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let argv = ["/nowhere/qemu".to_owned()];
    let options = SpawnOptions { argv: &argv, folder: folder.path(), log: "qemu.log" };
    let error = QemuProcess::spawn(options).await.unwrap_err();
    assert!(matches!(&error, SpawnError::Start { program, .. } if program == "/nowhere/qemu"), "{error}");
}

#[tokio::test]
async fn it_runs_in_the_lanes_folder_in_a_group_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let process =
        spawn(&shell("pwd; cut -d' ' -f5 /proc/$$/stat; echo $$; wc -c < /dev/stdin"), folder.path()).await;
    let (pid, facts) = (process.pid(), process.exited().await);
    let folder = folder.path().canonicalize().unwrap();
    assert_eq!(facts.last_words, format!("{}\n{pid}\n{pid}\n0", folder.display()));
}

#[tokio::test]
async fn what_it_leaves_in_its_group_dies_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let process = spawn(&shell("sleep 600 & echo $!"), folder.path()).await;
    let straggler: i32 = process.exited().await.last_words.parse().unwrap();
    // The signal was sent before the end was told; the kernel may still be busy with it.
    let gone = async {
        while is_alive(straggler) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn dropping_it_kills_it() {
    let folder = tempfile::tempdir().unwrap();
    let process = spawn(&shell("exec sleep 600"), folder.path()).await;
    let (pid, mut exit) = (process.pid(), process.exit_watch());
    drop(process);
    let facts = tokio::time::timeout(PATIENCE, exit.wait()).await.unwrap();
    assert_eq!(facts.signal, Some(9));
    assert!(!is_alive(pid));
}

#[test]
fn it_does_not_outlive_its_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let process = runtime.block_on(spawn(&shell("exec sleep 600"), folder.path()));
    let pid = process.pid();
    drop(runtime);
    drop(process);
    assert!(!is_alive(pid));
}

#[test]
fn it_outlives_the_thread_that_asked_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let process = std::thread::scope(|scope| {
        let ask = || runtime.block_on(spawn(&shell("exec sleep 600"), folder.path()));
        scope.spawn(ask).join().unwrap()
    });
    let outlived = runtime.block_on(async {
        tokio::time::timeout(Duration::from_millis(300), process.exited()).await.is_err()
    });
    assert!(outlived && is_alive(process.pid()));
}

#[tokio::test]
async fn a_qemu_that_gives_up_at_once_says_why() {
    let Some(platform) = platform_or_skip("QEMU that ends at once").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let process = spawn(&boardless(&platform, &["-device", "no-such-device"]), folder.path()).await;
    let facts = process.exited().await;
    assert_eq!(facts.code, Some(1));
    assert!(facts.last_words.contains("no-such-device"), "{}", facts.last_words);
}

const PARENT_ROLE: &str = "BACKSTAFF_TEST_PARENT_OF_QEMU";

/// This test runs itself a second time as the parent that is to be killed.
#[test]
fn killing_us_leaves_no_qemu() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(folder) = std::env::var_os(PARENT_ROLE) {
        return runtime.block_on(parent_to_be_killed(folder.as_ref()));
    }
    if runtime.block_on(platform_or_skip("SIGKILL of the parent")).is_none() {
        return;
    }
    // Ours, as the one that is killed cannot clean up.
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["lane::process::killing_us_leaves_no_qemu", "--exact", "--nocapture"])
        .env(PARENT_ROLE, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid: i32 = BufReader::new(parent.stdout.take().unwrap())
        .lines()
        .find_map(|line| line.unwrap().split_once("QEMU runs as ")?.1.parse().ok())
        .unwrap();
    assert!(is_alive(pid));
    parent.kill().unwrap();
    assert_eq!(parent.wait().unwrap().signal(), Some(9));

    let deadline = std::time::Instant::now() + PATIENCE;
    while is_alive(pid) {
        assert!(std::time::Instant::now() < deadline, "QEMU {pid} outlives its parent");
        std::thread::yield_now();
    }
}

async fn parent_to_be_killed(folder: &Path) {
    let platform = platform_or_skip("role of the parent").await.unwrap();
    let process = spawn(&boardless(&platform, &[]), folder).await;
    let (_qmp, _events) = connect(folder).await;
    // A line of its own, whatever the test harness has printed before.
    let mut stdout = std::io::stdout();
    writeln!(stdout, "\nQEMU runs as {}", process.pid()).unwrap();
    stdout.flush().unwrap();
    process.exited().await;
}
