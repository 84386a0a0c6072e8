//! From a key to its echo at the prompt, through a real pseudo-terminal, while events arrive.
//!
//! The prompt runs in a process of its own, this program again: the line editor wants the process's own terminal. What
//! it holds is no scenario but a journal that a thread fills.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use backstaff::journal::{Body, Journal, Source};
use backstaff::lane::handle::LaneHandle;
use backstaff::repl::{Interrupts, Repl, ReplOptions, Way};
use backstaff::report::style::Look;
use backstaff::script::prompt::{Ask, Held};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::measure::{Goal, Report, Samples};
use crate::stage::runtime;

/// The argument that makes this program the prompt, followed by events a second.
pub(crate) const CHILD: &str = "--prompt-child";
const GOAL: Duration = Duration::from_millis(30);

pub(crate) fn run(report: &mut Report) {
    report.row("key to echo, nothing happens", &measure(report, 0), None);
    report.row("key to echo, 500 events a second", &measure(report, 500), Goal::p99(GOAL));
    report.row("key to echo, 5000 events a second", &measure(report, 5_000), None);
}

fn measure(report: &Report, rate: u32) -> Samples {
    let mut terminal = Terminal::start(rate);
    terminal.wait_for(0, b"bench> ");
    let samples = report.samples(500);
    let mut times = Samples::default();
    for index in 0..samples {
        // A letter that is nowhere on the screen yet; the line is begun anew before it would wrap.
        if index % 20 == 0 {
            terminal.keys.write_all(b"\x15").unwrap();
        }
        std::thread::sleep(BETWEEN_KEYS);
        let letter = char::from_u32(0x0400 + u32::try_from(index % 200).unwrap()).unwrap().to_string();
        let seen = terminal.seen();
        let began = Instant::now();
        terminal.keys.write_all(letter.as_bytes()).unwrap();
        let echoed = terminal.wait_for(seen, letter.as_bytes());
        times.push(echoed - began, 1);
    }
    times
}

/// The prompt's process, and the other end of its terminal.
struct Terminal {
    child: Child,
    keys: std::fs::File,
    seen: Arc<(Mutex<Vec<u8>>, Condvar)>,
}

impl Terminal {
    fn start(rate: u32) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = || -> OwnedFd {
            rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap()
        };
        let child = Command::new(std::env::current_exe().unwrap())
            .args([CHILD, &rate.to_string()])
            .env("TERM", "xterm")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        let seen: Arc<(Mutex<Vec<u8>>, Condvar)> = Arc::default();
        let (mut screen, shared) = (std::fs::File::from(master.try_clone().unwrap()), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut piece) {
                shared.0.lock().unwrap().extend_from_slice(&piece[..read]);
                shared.1.notify_all();
            }
        });
        Self { child, keys: std::fs::File::from(master), seen }
    }

    /// How much has come.
    fn seen(&self) -> usize {
        self.seen.0.lock().unwrap().len()
    }

    /// When these bytes had come behind what had been seen.
    fn wait_for(&self, from: usize, wanted: &[u8]) -> Instant {
        let mut seen = self.seen.0.lock().unwrap();
        loop {
            if seen[from..].windows(wanted.len()).any(|window| window == wanted) {
                return Instant::now();
            }
            let (next, waited) = self.seen.1.wait_timeout(seen, PATIENCE).unwrap();
            assert!(!waited.timed_out(), "{:?}", String::from_utf8_lossy(&next));
            seen = next;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The prompt's process: a session that holds nothing, and a journal that gets `rate` events a second.
pub(crate) fn child(rate: u32) {
    let options = ReplOptions {
        look: Look { color: true, live: true, width: 100 },
        columns: None,
        history: None,
        way: Way::Blocks,
        interrupts: Interrupts::default(),
        source: None,
    };
    let mut repl = Repl::on_terminal(options).unwrap();
    runtime().block_on(async {
        let journal = Journal::new();
        let (asks, mut asked) = mpsc::channel(1);
        let (prompts, held) = mpsc::channel(1);
        let session = Held {
            failure: None,
            place: None,
            steps: Vec::new(),
            scenario: "bench".to_owned(),
            is_session: true,
            frames: Vec::new(),
            lanes: vec![(None, LaneHandle::none("bench"))],
            notes: Vec::new(),
            rewindable: Vec::new(),
            journal: journal.clone(),
            folder: std::env::temp_dir(),
            asks,
        };
        assert!(prompts.send(session).await.is_ok());
        tokio::spawn(async move {
            while let Some(ask) = asked.recv().await {
                if let Ask::Names { answer } = ask {
                    let _ = answer.send(Vec::new());
                }
            }
        });
        std::thread::spawn(move || flood(&journal, rate));
        repl.serve(held, &CancellationToken::new()).await;
    });
}

fn flood(journal: &Journal, rate: u32) {
    let began = Instant::now();
    for number in 0_u32.. {
        if rate == 0 {
            return;
        }
        let due = began + Duration::from_secs(1) * number / rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let text = format!("line {number} of a guest that has much to say");
        journal.append(Source::Serial, Body::SerialLine { text });
    }
}

/// Somebody types fast, and never in step with the feed.
const BETWEEN_KEYS: Duration = Duration::from_millis(37);
const PATIENCE: Duration = Duration::from_secs(30);
