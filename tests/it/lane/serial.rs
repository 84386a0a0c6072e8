//! Serial lines come as they are written, and the last one is never lost.

use std::time::{Duration, Instant};

use backstaff::lane::process::QemuProcess;
use backstaff::lane::serial::{SerialEvent, follow};
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
