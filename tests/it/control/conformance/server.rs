//! Whose rules are tested: a foreign server, or one of our own that all tests of this process share.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use super::wire::{DEADLINE, Talk};
use crate::cli::lab::{Lab, skipped};

/// The server, for one test alone.
pub(super) struct Server {
    /// Before the server itself: it must not end while others take their turn.
    _turn: MutexGuard<'static, ()>,
    shared: Arc<Shared>,
    /// Section 1.
    pub(super) version: (u32, u32),
    hello: Value,
}

impl Server {
    /// Waits for its turn, and asks who is there.
    pub(super) fn take() -> Self {
        let shared = Shared::get();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let hello = Talk::connect(shared.path())
            .call("hello", json!({ "client_name": "conformance", "protocol_version": "1.2" }));
        let version = hello["protocol_version"].as_str().and_then(|version| version.split_once('.'));
        let version = version.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let version = version.unwrap_or_else(|| panic!("hello: no version: {hello}"));
        Self { _turn: turn, shared, version, hello }
    }

    pub(super) fn path(&self) -> &Path {
        self.shared.path()
    }

    /// A connection that has said hello.
    pub(super) fn talk(&self) -> Talk {
        Talk::greeted(self.path())
    }

    /// Whether the rules that go beyond the protocol hold, too.
    pub(super) fn is_ours(&self) -> bool {
        self.hello["server_name"] == "backstaff"
    }

    /// Whether several clients may talk at a time.
    pub(super) fn is_multi(&self) -> bool {
        self.lists("features", "multi")
    }

    pub(super) fn has_method(&self, name: &str) -> bool {
        self.lists("supported_methods", name)
    }

    pub(super) fn has_event(&self, name: &str) -> bool {
        self.lists("supported_events", name)
    }

    fn lists(&self, key: &str, name: &str) -> bool {
        self.hello[key].as_array().is_some_and(|names| names.iter().any(|known| known == name))
    }

    /// Whether the rule is about what this server has; says aloud when it is not.
    pub(super) fn keeps(&self, applies: bool, what: &str) -> bool {
        if !applies {
            let rule = std::thread::current().name().unwrap_or_default().to_owned();
            let server = &self.hello["server_name"];
            skipped(&rule, &format!("{server} has no {what}"));
        }
        applies
    }
}

static TURN: Mutex<()> = Mutex::new(());
static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());

/// A server that lives as long as a test uses or waits for it.
enum Shared {
    Foreign(PathBuf),
    Own(Box<Own>),
}

impl Shared {
    fn get() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(match std::env::var_os("BACKSTAFF_CONFORMANCE_SOCKET") {
                Some(path) => Self::Foreign(path.into()),
                None => Self::Own(Box::new(Own::start())),
            });
            *shared = Arc::downgrade(&started);
            started
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Foreign(path) => path,
            Self::Own(own) => &own.path,
        }
    }
}

/// `backstaff serve`.
struct Own {
    path: PathBuf,
    process: Child,
    _lab: Lab,
}

impl Own {
    fn start() -> Self {
        let lab = Lab::bare().file("lanes/fast.toml", FAST);
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
}

impl Drop for Own {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| rustix::process::kill_process(pid, Signal::TERM));
        let limit = Instant::now() + DEADLINE;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() >= limit {
                let _ = self.process.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The guest need not make people wait.
const FAST: &str = "kind = \"sim\"\n[sim]\ntime_scale = 5\n";
