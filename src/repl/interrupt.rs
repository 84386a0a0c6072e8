//! Ctrl-C while a prompt is open: it ends the call that waits, and never the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Tells the prompt of Ctrl-C. A clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Interrupts(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// How many prompts are open: they nest.
    open: AtomicUsize,
    /// How often it was pressed since the prompt looked.
    pressed: AtomicUsize,
    bell: Notify,
}

impl Interrupts {
    /// Hands a Ctrl-C to the prompt; false when none is open, so that it is for the run.
    pub fn take(&self) -> bool {
        let is_open = self.0.open.load(Ordering::SeqCst) > 0;
        if is_open {
            self.0.pressed.fetch_add(1, Ordering::SeqCst);
            self.0.bell.notify_one();
        }
        is_open
    }

    /// A prompt is open until the guard is dropped.
    pub(super) fn open(&self) -> OpenPrompt {
        self.0.open.fetch_add(1, Ordering::SeqCst);
        OpenPrompt(self.clone())
    }

    /// Resolves when Ctrl-C was pressed. Cancel safe.
    pub(super) async fn pressed(&self) {
        loop {
            let bell = self.0.bell.notified();
            let take = |count: usize| count.checked_sub(1);
            if self.0.pressed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
                return;
            }
            bell.await;
        }
    }
}

/// A prompt that is open.
pub(super) struct OpenPrompt(Interrupts);

impl Drop for OpenPrompt {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}
