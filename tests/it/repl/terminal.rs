//! A real pseudo-terminal with somebody before it.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::cli::lab::{Lab, skipped};

/// A program on a terminal of its own. Dropping it kills it.
pub(super) struct Terminal {
    child: Child,
    keys: std::fs::File,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    /// How much of what was seen was waited for.
    read: usize,
}

#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    is_over: bool,
}

impl Terminal {
    /// Starts `backstaff` with these arguments in the lab's folder; nothing where no tool gives it a terminal, and says so.
    pub(super) fn start(lab: &Lab, columns: u16, arguments: &[&str]) -> Option<Self> {
        if Command::new("setsid").arg("--version").stdout(Stdio::null()).status().is_err() {
            skipped("a terminal", "no `setsid` to give a program a terminal");
            return None;
        }
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 30, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = || -> OwnedFd {
            rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap()
        };
        let command = lab.command(arguments).env("TERM", "xterm").env("NO_COLOR", "1").into_command();
        let mut wrapped = Command::new("setsid");
        wrapped.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        wrapped.current_dir(command.get_current_dir().unwrap());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        let child = wrapped.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        // The command keeps its ends of the terminal as long as it lives; ours must not.
        drop(wrapped);
        let seen = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let mut screen = std::fs::File::from(master.try_clone().unwrap());
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            loop {
                // A terminal whose last program has ended gives an error.
                let read = screen.read(&mut piece).unwrap_or(0);
                let mut seen = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                seen.bytes.extend_from_slice(&piece[..read]);
                seen.is_over = read == 0;
                shared.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        Some(Self { child, keys: std::fs::File::from(master), seen, read: 0 })
    }

    /// Presses these keys.
    pub(super) fn keys(&mut self, keys: &str) {
        // What has ended takes no keys; whoever waits for it to say something notices.
        let _ = self.keys.write_all(keys.as_bytes());
    }

    /// Types a line and Enter.
    pub(super) fn line(&mut self, line: &str) {
        self.keys(line);
        self.keys("\r");
    }

    /// Waits for text behind what was waited for before, and returns what stood before it.
    #[track_caller]
    pub(super) fn wait_for(&mut self, text: &str) -> String {
        let until = Instant::now() + DEADLINE;
        let mut seen = self.seen.0.lock().unwrap();
        loop {
            let plain = plain(&seen.bytes);
            let rest = plain.get(self.read..).unwrap_or_default();
            if let Some(at) = rest.find(text) {
                let before = rest[..at].to_owned();
                self.read += at + text.len();
                return before;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !seen.is_over && !left.is_zero(),
                "{text:?} never came behind\n{}\n--- but\n{rest}",
                &plain[..self.read]
            );
            seen = self.seen.1.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Tells the program to end.
    pub(super) fn terminate(&self) {
        // `setsid` has made it a child of its own.
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let pid = children.split_whitespace().next().map_or(self.child.id().to_string(), str::to_owned);
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Everything that was seen, without the movements of the cursor.
    pub(super) fn text(&self) -> String {
        plain(&self.seen.0.lock().unwrap().bytes)
    }

    /// Waits for the end and checks how it ended.
    #[track_caller]
    pub(super) fn exits_with(mut self, code: i32) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert_eq!(status.code(), Some(code), "{}", self.text());
                return self.text();
            }
            assert!(Instant::now() < until, "it does not end\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // With its terminal gone, the program ends as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a person reads: without escape sequences and carriage returns.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => match chars.next() {
                Some('[') => while chars.next().is_some_and(|next| !('@'..='~').contains(&next)) {},
                Some(']' | '_') => while chars.next().is_some_and(|next| next != '\u{7}' && next != '\\') {},
                _ => {}
            },
            '\r' | '\u{7}' => {}
            _ => plain.push(char),
        }
    }
    plain
}

/// Longer than anything here takes, also on a busy host.
const DEADLINE: Duration = Duration::from_secs(120);
