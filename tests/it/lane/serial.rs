//! Serial lines come as they are written, and the last one is never lost.

use std::time::{Duration, Instant};

use backstaff::lane::process::QemuProcess;
use backstaff::lane::serial::{SerialEvent, follow, follow_from_end};
use tokio::sync::mpsc::Receiver;

use super::support::{PATIENCE, platform_or_skip, spawn};

/// Runs `script`, which writes to `serial.log`, and follows that.
async fn run(script: &str) -> (QemuProcess, Receiver<SerialEvent>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let follower = follow(&folder.path().join("serial.log")).unwrap();
    let argv = ["/bin/sh", "-c", script].map(str::to_owned);
    let process = spawn(&argv, folder.path()).await;
    let (events, _task) = follower.until(process.exit_watch());
    (process, events, folder)
}

async fn next(events: &mut Receiver<SerialEvent>) -> Option<SerialEvent> {
    tokio::time::timeout(PATIENCE, events.recv()).await.unwrap()
}

async fn lines_to_the_end(events: &mut Receiver<SerialEvent>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(event) = next(events).await {
        if let SerialEvent::Line(line) = event {
            lines.push(line.text);
        }
    }
    lines
}

#[tokio::test]
async fn nothing_written_before_the_end_is_lost() {
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done > serial.log; printf cut >> serial.log";
    let (_process, mut events, _folder) = run(script).await;
    let lines = lines_to_the_end(&mut events).await;
    let expected: Vec<String> =
        (0..3_000).map(|number| format!("line {number}")).chain(["cut".to_owned()]).collect();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_slow_reader_loses_nothing() {
    let (process, mut events, _folder) = run("seq 20000 > serial.log").await;
    process.exited().await;
    assert_eq!(lines_to_the_end(&mut events).await.len(), 20_000);
}

#[tokio::test]
async fn a_line_comes_while_its_writer_still_lives() {
    let (process, mut events, folder) = run("exec sleep 600").await;
    let mut slowest = Duration::ZERO;
    for number in 0..50 {
        let text = format!("line {number}");
        let mut log = std::fs::File::options().append(true).open(folder.path().join("serial.log")).unwrap();
        let written = Instant::now();
        std::io::Write::write_all(&mut log, format!("{text}\n").as_bytes()).unwrap();
        let Some(SerialEvent::Line(line)) = next(&mut events).await else { panic!("no line") };
        assert_eq!(line.text, text);
        slowest = slowest.max(line.at.duration_since(written));
    }
    eprintln!("slowest of 50 lines: {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    process.kill().unwrap();
    assert_eq!(next(&mut events).await, None);
}

#[tokio::test]
async fn a_prompt_is_told_once_and_its_line_comes_whole() {
    let (_process, mut events, folder) = run("printf 'ready\\nlogin: ' > serial.log; exec sleep 600").await;
    let text_of = |event| match event {
        Some(SerialEvent::Line(line)) => ("line", line.text),
        Some(SerialEvent::Prompt(line)) => ("prompt", line.text),
        None => ("end", String::new()),
    };
    assert_eq!(text_of(next(&mut events).await), ("line", "ready".to_owned()));
    assert_eq!(text_of(next(&mut events).await), ("prompt", "login: ".to_owned()));
    let mut log = std::fs::File::options().append(true).open(folder.path().join("serial.log")).unwrap();
    std::io::Write::write_all(&mut log, b"root\r\n").unwrap();
    assert_eq!(text_of(next(&mut events).await), ("line", "login: root".to_owned()));
}

/// A log of somebody else's that is followed until the sender goes.
fn follow_theirs(path: &std::path::Path) -> (Receiver<SerialEvent>, tokio::sync::oneshot::Sender<()>) {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (events, _task) = follow_from_end(path).unwrap().until(stopped);
    (events, stop)
}

async fn line(events: &mut Receiver<SerialEvent>) -> String {
    loop {
        match next(events).await {
            Some(SerialEvent::Line(line)) => return line.text,
            Some(SerialEvent::Prompt(_)) => {}
            None => panic!("the end"),
        }
    }
}

fn append(path: &std::path::Path, text: &str) {
    let mut log = std::fs::File::options().append(true).create(true).open(path).unwrap();
    std::io::Write::write_all(&mut log, text.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_log_of_somebody_elses_is_followed_from_its_end_until_told_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("theirs.log");
    append(&log, "before\nlog");
    let (mut events, stop) = follow_theirs(&log);
    append(&log, "in\nafter\ncut");
    assert_eq!(line(&mut events).await, "in");
    assert_eq!(line(&mut events).await, "after");
    drop(stop);
    assert_eq!(line(&mut events).await, "cut");
    assert_eq!(next(&mut events).await, None);
}

#[tokio::test]
async fn a_log_that_is_cut_short_or_replaced_is_read_from_its_new_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("theirs.log");
    append(&log, "a long line that was there before\n");
    let (mut events, _stop) = follow_theirs(&log);
    append(&log, "unfinished");
    assert!(matches!(next(&mut events).await, Some(SerialEvent::Prompt(_))));
    std::fs::write(&log, "").unwrap();
    assert_eq!(line(&mut events).await, "unfinished");
    append(&log, "cut short\n");
    assert_eq!(line(&mut events).await, "cut short");

    append(&log, "last words\n");
    std::fs::rename(&log, folder.path().join("theirs.log.1")).unwrap();
    assert_eq!(line(&mut events).await, "last words");
    append(&log, "replaced\n");
    assert_eq!(line(&mut events).await, "replaced");
    append(&log, "and goes on\n");
    assert_eq!(line(&mut events).await, "and goes on");
}

#[tokio::test]
async fn a_log_that_is_no_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    assert!(follow_from_end(&folder.path().join("none")).is_err());
    let error = follow_from_end(folder.path()).unwrap_err();
    assert_eq!(error.source.to_string(), "not a regular file");
    // Opening a pipe would wait for its writer.
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(follow_from_end(&pipe).unwrap_err().source.to_string(), "not a regular file");
}

#[tokio::test]
async fn firmware_speaks_on_the_serial_port_of_a_real_machine() {
    let Some(platform) = platform_or_skip("serial log of firmware").await else { return };
    let Some(bios) = &platform.firmware.single else {
        eprintln!("SKIPPED serial log of firmware: no single OVMF image");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let follower = follow(&folder.path().join("serial.log")).unwrap();
    let argv = [
        platform.qemu.as_str(),
        "-machine",
        "q35,accel=tcg",
        "-m",
        "64",
        "-nodefaults",
        "-display",
        "none",
        "-bios",
        bios,
        "-serial",
        "file:serial.log",
    ];
    let process = spawn(&argv.map(str::to_owned), folder.path()).await;
    let (mut events, _task) = follower.until(process.exit_watch());
    let spoken = async {
        while let Some(event) = events.recv().await {
            let (SerialEvent::Line(line) | SerialEvent::Prompt(line)) = event;
            if line.text.contains("BdsDxe") {
                return line.text;
            }
        }
        panic!("it ended: {}", process.exited().await.last_words)
    };
    let text = tokio::time::timeout(Duration::from_secs(90), spoken).await.unwrap();
    assert!(!text.contains('\u{1b}'), "{text:?}");
}
