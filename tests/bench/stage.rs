//! A lane without a machine: a screen that the benchmark paints, and a keyboard that tells when it was pressed.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use backstaff::console::{Console, ConsoleError, MouseAction, Scancode};
use backstaff::journal::Journal;
use backstaff::lane::handle::{Capability, LaneEnd, LaneHandle};
use backstaff::script::{AttemptOptions, Lanes, Outcome, Scenario, Script, load, run_attempt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use visual_digest::Frame;

use crate::screen::Screen;

/// The console. Its owner learns the time of every key that goes down.
pub(crate) struct StageConsole {
    pub(crate) screen: Mutex<Screen>,
    pressed: mpsc::Sender<Press>,
    on_press: Option<Box<dyn Fn() + Send + Sync>>,
}

/// A key that went down.
#[derive(Clone, Copy)]
pub(crate) struct Press {
    /// When the script had come this far.
    pub(crate) at: Instant,
    /// When it was let go on.
    pub(crate) released: Instant,
}

impl StageConsole {
    pub(crate) fn new(screen: Screen) -> (Self, mpsc::Receiver<Press>) {
        let (pressed, presses) = mpsc::channel();
        (Self { screen: Mutex::new(screen), pressed, on_press: None }, presses)
    }

    /// Does something at every press, before the script is let go on.
    pub(crate) fn on_press(mut self, act: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_press = Some(Box::new(act));
        self
    }
}

impl Console for StageConsole {
    fn key_down(&self, _: Scancode) -> Result<(), ConsoleError> {
        let at = Instant::now();
        if let Some(act) = &self.on_press {
            act();
        }
        // Nobody counts any more once the benchmark has what it wanted.
        let _ = self.pressed.send(Press { at, released: Instant::now() });
        Ok(())
    }

    fn key_up(&self, _: Scancode) -> Result<(), ConsoleError> {
        Ok(())
    }

    fn mouse(&self, _: MouseAction) -> Result<(), ConsoleError> {
        Ok(())
    }

    fn takes_positions(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    fn flushed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    fn with_screen(&self, look: &mut dyn FnMut(Frame<'_>)) -> bool {
        look(self.screen.lock().unwrap().frame());
        true
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

/// A scenario that is ready to run.
pub(crate) struct Play {
    script: Script,
    scenario: Scenario,
    ended: watch::Sender<Option<LaneEnd>>,
    folder: tempfile::TempDir,
    pub(crate) cancel: CancellationToken,
}

impl Play {
    /// `body` sees `t`.
    pub(crate) fn new(body: &str) -> Self {
        let source = format!("scenario('bench', {{ timeout = 3600 }}, function(t)\n{body}\nend)");
        let script = Script { path: "bench.lua".into(), source: source.into() };
        let scenario = load(&script).unwrap().remove(0);
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { script, scenario, ended: watch::Sender::new(None), folder, cancel: CancellationToken::new() }
    }

    pub(crate) fn run(
        &self,
        console: Arc<dyn Console>,
        journal: Journal,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        run_attempt(AttemptOptions {
            script: self.script.clone(),
            scenario: self.scenario.clone(),
            journal,
            attempt: 1,
            lanes: Lanes::One(LaneHandle {
                name: "stage".to_owned(),
                capabilities: Capability::ALL.into_iter().collect(),
                console: Some(console),
                control: None,
                faults: None,
                standstill: None,
                speed: None,
                qemu_log: None,
                ended: self.ended.subscribe(),
            }),
            folder: self.folder.path().to_owned(),
            params: serde_json::json!({}),
            prompts: None,
            is_session: false,
            cancel: self.cancel.clone(),
        })
    }
}

/// A runtime as the program has it.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}
