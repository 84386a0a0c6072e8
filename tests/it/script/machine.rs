//! A lane without a machine: what a scenario sees is what the test appends to the journal.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use backstaff::console::{
    Console, ConsoleError, LockLights, MouseAction, Pointer, PointerShape, Scancode, Traffic,
};
use backstaff::journal::{Body, Journal, ObservedDigest, Source};
use backstaff::lane::handle::{Capability, EndClass, LaneEnd, LaneHandle};
use backstaff::script::{AttemptOptions, Lanes, Outcome, Scenario, Script, load, run_attempt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use visual_digest::Frame;

pub(crate) struct TestMachine {
    pub(crate) journal: Journal,
    pub(crate) keys: Arc<Mutex<Vec<String>>>,
    pub(crate) cancel: CancellationToken,
    ended: watch::Sender<Option<LaneEnd>>,
    folder: tempfile::TempDir,
}

impl TestMachine {
    pub(crate) fn new() -> Self {
        Self {
            journal: Journal::new(),
            keys: Arc::default(),
            cancel: CancellationToken::new(),
            ended: watch::Sender::new(None),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn serial(&self, text: &str) {
        self.journal.append(Source::Serial, Body::SerialLine { text: text.to_owned() });
    }

    pub(crate) fn record(&self, record: visual_digest::Record, frame_counter: u32) {
        self.journal.append(Source::Digest, Body::DigestRecord { record, frame_counter });
    }

    pub(crate) fn end(&self, class: EndClass, how: &str) {
        let end = LaneEnd { class, how: how.to_owned() };
        let body = Body::LaneEnded { how: how.to_owned(), by_guest: class.by_guest() };
        self.journal.append(Source::Lane, body);
        self.ended.send_replace(Some(end));
    }

    /// Runs the body of a scenario: `source` sees `t`.
    pub(crate) async fn run(&self, source: &str) -> Outcome {
        self.run_with("timeout = 20", source).await
    }

    pub(crate) async fn run_with(&self, options: &str, source: &str) -> Outcome {
        self.run_file(&format!("scenario('it', {{ {options} }}, function(t)\n{source}\nend)")).await
    }

    pub(crate) async fn run_file(&self, source: &str) -> Outcome {
        let script = Script { path: "case.lua".into(), source: source.into() };
        let scenario = load(&script).unwrap().remove(0);
        self.run_scenario(script, scenario).await
    }

    pub(crate) async fn run_scenario(&self, script: Script, scenario: Scenario) -> Outcome {
        self.run_on(Lanes::One(self.handle()), script, scenario).await
    }

    /// Runs a scenario on several machines; `self` has the journal.
    pub(crate) async fn run_lanes(&self, machines: &[(&str, &Self)], source: &str) -> Outcome {
        let source = format!("scenario('it', {{ timeout = 20 }}, function(t)\n{source}\nend)");
        let script = Script { path: "case.lua".into(), source: source.into() };
        let scenario = load(&script).unwrap().remove(0);
        let lanes = machines.iter().map(|(role, machine)| ((*role).to_owned(), machine.handle()));
        self.run_on(Lanes::Several(lanes.collect()), script, scenario).await
    }

    pub(crate) async fn run_on(&self, lanes: Lanes, script: Script, scenario: Scenario) -> Outcome {
        run_attempt(AttemptOptions {
            script,
            scenario,
            journal: self.journal.clone(),
            attempt: 1,
            lanes,
            folder: self.folder(),
            params: serde_json::json!({ "user": "root" }),
            prompts: None,
            is_session: false,
            cancel: self.cancel.clone(),
        })
        .await
    }

    /// Another machine of the same attempt.
    pub(crate) fn of_lane(&self, role: &str) -> Self {
        Self { journal: self.journal.for_lane(role), ..Self::new() }
    }

    pub(crate) fn handle(&self) -> LaneHandle {
        LaneHandle {
            name: "test".to_owned(),
            capabilities: Capability::ALL.into_iter().collect(),
            console: Some(Arc::new(TestConsole::new(self))),
            control: None,
            faults: None,
            standstill: None,
            speed: None,
            qemu_log: Some(self.folder().join("qemu.log")),
            ended: self.ended.subscribe(),
        }
    }

    /// What the journal has of one kind, as JSON.
    pub(crate) fn noted(&self, event: &str) -> Vec<serde_json::Value> {
        let events = self.journal.all_after(Default::default());
        let of_kind = events.iter().filter(|one| one.body.name() == event);
        of_kind.map(|one| serde_json::to_value(&**one).unwrap()).collect()
    }

    pub(crate) fn digest(&self, frame_counter: u32) {
        let digest = ObservedDigest {
            frame_counter,
            channel_hashes: None,
            raw_records: Vec::new(),
            unknown_records: Vec::new(),
            framebuffer_hash: 0,
        };
        let body = Body::DigestUpdated {
            digest: Arc::new(digest),
            framebuffer: "matches".to_owned(),
            new_records: 0,
            missed: Vec::new(),
            restarted: false,
        };
        self.journal.append(Source::Digest, body);
    }
}

/// The message of a failure, for attempts that must fail.
pub(crate) fn failure(outcome: Outcome) -> Box<backstaff::script::Failure> {
    match outcome {
        Outcome::Failed(failure, _) => failure,
        Outcome::Passed => panic!("it passed"),
    }
}

struct TestConsole {
    keys: Arc<Mutex<Vec<String>>>,
    lights: Mutex<Option<LockLights>>,
    journal: Journal,
}

impl TestConsole {
    fn new(machine: &TestMachine) -> Self {
        Self { keys: Arc::clone(&machine.keys), lights: Mutex::new(None), journal: machine.journal.clone() }
    }
}

impl Console for TestConsole {
    fn key_down(&self, code: Scancode) -> Result<(), ConsoleError> {
        self.keys.lock().unwrap().push(format!("+{:02x}", code.0));
        Ok(())
    }

    fn key_up(&self, code: Scancode) -> Result<(), ConsoleError> {
        self.keys.lock().unwrap().push(format!("-{:02x}", code.0));
        Ok(())
    }

    fn mouse(&self, action: MouseAction) -> Result<(), ConsoleError> {
        self.keys.lock().unwrap().push(match action {
            MouseAction::MoveTo { x, y } => format!("{x},{y}"),
            MouseAction::MoveBy { dx, dy } => format!("{dx:+},{dy:+}"),
            MouseAction::Press(button) => format!("+{}", button.name()),
            MouseAction::Release(button) => format!("-{}", button.name()),
        });
        Ok(())
    }

    fn takes_positions(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    fn flushed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    fn with_screen(&self, look: &mut dyn FnMut(Frame<'_>)) -> bool {
        look(Frame::new(8, 8, 32, &[0; 256]).unwrap());
        true
    }

    fn pointer(&self, _display: u8) -> Option<Pointer> {
        let pixels = vec![0xff; 4];
        let shape = Some(PointerShape { width: 1, height: 1, hot_x: 0, hot_y: -1, pixels });
        Some(Pointer { x: 3, y: -4, is_visible: true, shape })
    }

    fn lock_lights(&self) -> Option<LockLights> {
        *self.lights.lock().unwrap()
    }

    /// A guest that heeds at once.
    fn set_lock_lights(&self, lights: LockLights) -> Result<(), ConsoleError> {
        *self.lights.lock().unwrap() = Some(lights);
        let LockLights { caps, num, scroll } = lights;
        self.journal.append(Source::Keyboard, Body::KeyboardLeds { caps, num, scroll });
        Ok(())
    }

    fn traffic(&self) -> BTreeMap<String, Traffic> {
        let images = |count| BTreeMap::from([("QUIC".to_owned(), count)]);
        let display =
            |count| Traffic { messages: 10, bytes: 100, images: images(count), ..Traffic::default() };
        BTreeMap::from([("display 0".to_owned(), display(3)), ("display 1".to_owned(), display(4))])
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}
