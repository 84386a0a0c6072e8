//! Where words go: above the line that is being edited, or plainly. Nothing else writes to the terminal meanwhile.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use crate::report::style::Look;

/// Prints above a line that is being edited.
pub(super) type Above = Box<dyn FnMut(String) -> bool + Send>;

/// The terminal, or whatever takes its place. A clone is the same.
#[derive(Clone)]
pub(super) struct Screen {
    inner: Arc<Inner>,
}

struct Inner {
    out: Mutex<Box<dyn Write + Send>>,
    look: Look,
    /// Whether a line is being edited, so that whatever is printed must go above it.
    is_editing: AtomicBool,
    /// Texts for above the line; a thread of its own prints them, for the editor takes them when it can.
    above: mpsc::Sender<String>,
    printer: Mutex<Option<Above>>,
    /// What `COLUMNS` says, which nobody changes.
    columns: Option<usize>,
    is_terminal: bool,
}

impl Screen {
    /// Prints to `out`. Where that is a terminal, its width is asked for each time unless `columns` says it.
    pub(super) fn new(
        out: Box<dyn Write + Send>,
        look: Look,
        columns: Option<usize>,
        is_terminal: bool,
    ) -> Self {
        let (above, texts) = mpsc::channel();
        let inner = Arc::new(Inner {
            out: Mutex::new(out),
            look,
            is_editing: AtomicBool::new(false),
            above,
            printer: Mutex::new(None),
            columns,
            is_terminal,
        });
        let weak = Arc::downgrade(&inner);
        // Without the thread everything is printed plainly, which spoils the line that is edited and nothing else.
        let _ = std::thread::Builder::new().name("above the prompt".to_owned()).spawn(move || {
            while let Ok(text) = texts.recv() {
                let Some(inner) = weak.upgrade() else { return };
                inner.print_above(text);
            }
        });
        Self { inner }
    }

    /// How text looks at the moment.
    pub(super) fn look(&self) -> Look {
        let asked =
            || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let width = self.inner.columns.or_else(|| self.inner.is_terminal.then(asked).flatten());
        Look {
            width: width.filter(|&columns| columns > 0).unwrap_or(self.inner.look.width),
            ..self.inner.look
        }
    }

    /// Prints lines when no line is being edited, and above it otherwise.
    pub(super) fn print(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let text = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
        if self.is_editing() {
            let _ = self.inner.above.send(text);
        } else {
            self.inner.write(text.as_bytes());
        }
    }

    /// Prints bytes as they are, such as a picture's; nobody edits a line then.
    pub(super) fn print_bytes(&self, bytes: &[u8]) {
        self.inner.write(bytes);
    }

    /// Says how to print above a line.
    pub(super) fn set_printer(&self, printer: Above) {
        *self.inner.printer.lock().unwrap_or_else(PoisonError::into_inner) = Some(printer);
    }

    /// Whether a line is being edited from now on.
    pub(super) fn set_editing(&self, is_editing: bool) {
        self.inner.is_editing.store(is_editing, Ordering::SeqCst);
    }

    pub(super) fn is_editing(&self) -> bool {
        self.inner.is_editing.load(Ordering::SeqCst)
    }

    /// A writer for reports, which print in lines.
    pub(super) fn writer(&self) -> ScreenWriter {
        ScreenWriter { screen: self.clone(), text: Vec::new() }
    }
}

impl Inner {
    fn write(&self, bytes: &[u8]) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // A reader that went away, or a terminal, takes nothing away from the machine.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    fn print_above(&self, text: String) {
        let mut printer = self.printer.lock().unwrap_or_else(PoisonError::into_inner);
        let is_printed = match printer.as_mut().filter(|_| self.is_editing.load(Ordering::SeqCst)) {
            Some(printer) => printer(text.clone()),
            None => false,
        };
        if !is_printed {
            self.write(text.as_bytes());
        }
    }
}

/// Collects lines, and prints those that are whole when it is flushed.
pub struct ScreenWriter {
    screen: Screen,
    text: Vec<u8>,
}

impl Write for ScreenWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let Some(end) = self.text.iter().rposition(|&byte| byte == b'\n') else { return Ok(()) };
        let lines: Vec<u8> = self.text.drain(..=end).collect();
        self.screen.print(&String::from_utf8_lossy(&lines));
        Ok(())
    }
}

impl Drop for ScreenWriter {
    fn drop(&mut self) {
        let rest = std::mem::take(&mut self.text);
        self.screen.print(&String::from_utf8_lossy(&rest));
    }
}
