//! A lane without a machine: what a scenario sees is what the test appends to the journal.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use backstaff::console::{Console, ConsoleError, MouseAction, Scancode};
use backstaff::journal::{Body, Journal, Source};
use backstaff::lane::handle::{Capability, EndClass, LaneEnd, LaneHandle};
use backstaff::script::{AttemptOptions, Outcome, Script, load, run_attempt};
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
        run_attempt(AttemptOptions {
            script,
            scenario,
            journal: self.journal.clone(),
            lane: LaneHandle {
                name: "test".to_owned(),
                capabilities: Capability::ALL.into_iter().collect(),
                console: Some(Arc::new(TestConsole { keys: Arc::clone(&self.keys) })),
                control: None,
                faults: None,
                ended: self.ended.subscribe(),
            },
            folder: self.folder(),
            params: serde_json::json!({ "user": "root" }),
            cancel: self.cancel.clone(),
        })
        .await
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

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}
