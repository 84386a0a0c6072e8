//! Whose rules are tested: a foreign server, or one of our own that all tests of this process share.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde_json::{Value, json};

use super::wire::Talk;
use crate::cli::lab::skipped;
use crate::control::own::OwnServer;

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
    Own(Box<OwnServer>),
}

impl Shared {
    fn get() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(match std::env::var_os("BACKSTAFF_CONFORMANCE_SOCKET") {
                Some(path) => Self::Foreign(path.into()),
                None => Self::Own(Box::new(OwnServer::start())),
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
