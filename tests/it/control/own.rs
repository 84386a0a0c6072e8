//! `backstaff serve` on a simulated lane, in a folder of its own.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::cli::lab::Lab;

/// A server that is there for as long as this is.
pub(crate) struct OwnServer {
    pub(crate) path: PathBuf,
    process: Child,
    _lab: Lab,
}

impl OwnServer {
    /// Starts it and waits for its socket, which comes before the guest does. The guest need not make people wait.
    pub(crate) fn start() -> Self {
        Self::with_time_scale(10)
    }

    /// The same with a guest whose time goes so many times as fast as the clock.
    pub(crate) fn with_time_scale(time_scale: u32) -> Self {
        let profile = format!("kind = \"sim\"\n[sim]\ntime_scale = {time_scale}\n");
        let lab = Lab::bare().file("lanes/fast.toml", &profile);
        let path = lab.path("console.sock");
        let serve = ["serve", "--lane", "fast", "--control-socket", path.to_str().unwrap()];
        let mut command = lab.command(&serve).into_command();
        let log = std::fs::File::create(lab.path("serve.log")).unwrap();
        command.stdout(Stdio::from(log.try_clone().unwrap())).stderr(log);
        let mut process = command.spawn().unwrap();
        let limit = Instant::now() + DEADLINE;
        while !path.exists() {
            let said = std::fs::read_to_string(lab.path("serve.log")).unwrap_or_default();
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none(), "backstaff serve: {}\n{said}", ended.unwrap_or_default());
            if Instant::now() >= limit {
                let _ = process.kill();
                panic!("no socket within {DEADLINE:?}\n{said}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { path, process, _lab: lab }
    }

    /// Asks it to end, as people do.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| rustix::process::kill_process(pid, signal));
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let limit = Instant::now() + DEADLINE;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() >= limit {
                let _ = self.process.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

const DEADLINE: Duration = Duration::from_secs(60);
