//! A prompt on a live lane: Lua that runs at once, and commands that begin with `:`. The same prompt opens inside a
//! scenario that stands still. Beside `cli` the only place that touches the terminal; it never provisions and never judges.
//!
//! Start reading at [`Repl::serve`]. [`prompt`] is the loop, [`input`] and [`editor`] where lines come from, [`screen`]
//! where words go, [`command`] what begins with `:`, [`feed`] what happens meanwhile, [`shown`] how values look, [`book`]
//! what is saved, [`complete`] what Tab offers, [`picture`] the screen in a terminal.

mod book;
mod command;
mod complete;
mod editor;
mod evidence;
#[cfg(test)]
mod fake;
mod feed;
mod input;
mod interrupt;
mod lua;
mod picture;
mod prompt;
mod screen;
mod shown;
#[cfg(test)]
mod tests;

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;

pub use interrupt::Interrupts;
pub use picture::Way;
pub use prompt::Served;
pub use screen::ScreenWriter;

use self::book::Book;
use self::editor::{EditorConfig, EditorHandle};
use self::feed::Streams;
use self::input::Input;
use self::screen::Screen;
use crate::report::style::Look;

/// What the prompt has to know of its surroundings.
#[derive(Debug, Clone)]
pub struct ReplOptions {
    /// How text looks.
    pub look: Look,
    /// The columns that the environment insists on.
    pub columns: Option<usize>,
    /// Where typed lines are kept between sessions.
    pub history: Option<PathBuf>,
    /// How pictures are shown.
    pub way: Way,
    /// Where Ctrl-C comes from.
    pub interrupts: Interrupts,
    /// A script to load as soon as a session's prompt is open.
    pub source: Option<PathBuf>,
}

/// A prompt, before anything stands still.
pub struct Repl {
    options: ReplOptions,
    screen: Screen,
    input: Input,
    streams: Streams,
    /// What people should know at once.
    notes: Vec<String>,
    /// One for each attempt that was held.
    books: Vec<Book>,
    /// How many pieces of Lua were typed.
    typed: usize,
    /// How many pictures were taken.
    shots: usize,
    has_failed: bool,
    is_leaving: bool,
    /// Gives the terminal back as it was.
    terminal: Option<TerminalGuard>,
}

impl Repl {
    /// A prompt on the process's own terminal, with a line editor.
    ///
    /// # Errors
    /// The terminal cannot be used, for this reason.
    pub fn on_terminal(options: ReplOptions) -> Result<Self, String> {
        let terminal = TerminalGuard::new()?;
        let screen = Screen::new(Box::new(std::io::stdout()), options.look, options.columns, true);
        let config = EditorConfig { screen: screen.clone(), history: options.history.clone() };
        let (editor, notes) = EditorHandle::start(config)?;
        let mut repl = Self::new(options, screen, Input::Editor(editor));
        repl.notes = notes;
        repl.streams.set(Streams::USUAL);
        repl.terminal = Some(terminal);
        Ok(repl)
    }

    /// A prompt that reads lines and prints plain results, and ends with the lines.
    pub fn piped(options: ReplOptions, from: Box<dyn BufRead + Send>, to: Box<dyn Write + Send>) -> Self {
        let screen = Screen::new(to, options.look, options.columns, false);
        Self::new(options, screen, Input::piped(from))
    }

    fn new(options: ReplOptions, screen: Screen, input: Input) -> Self {
        Self {
            options,
            screen,
            input,
            streams: Streams::default(),
            notes: Vec::new(),
            books: Vec::new(),
            typed: 0,
            shots: 0,
            has_failed: false,
            is_leaving: false,
            terminal: None,
        }
    }

    /// A writer for reports on the same terminal: what they say stands above the line that is being edited.
    pub fn writer(&self) -> ScreenWriter {
        self.screen.writer()
    }

    /// Gives the terminal back as it was, for who must leave without an orderly end.
    pub fn restorer(&self) -> impl Fn() + Clone + Send + 'static {
        let (terminal, screen) = (self.terminal.clone(), self.screen.clone());
        move || {
            if let Some(terminal) = &terminal {
                terminal.restore(&screen);
            }
        }
    }
}

/// How the terminal was before the editor used it.
#[derive(Clone)]
struct TerminalGuard {
    before: Arc<rustix::termios::Termios>,
}

impl TerminalGuard {
    fn new() -> Result<Self, String> {
        let before = rustix::termios::tcgetattr(std::io::stdin()).map_err(|error| error.to_string())?;
        Ok(Self { before: Arc::new(before) })
    }

    /// Only a line that is being edited has changed anything.
    fn restore(&self, screen: &Screen) {
        if screen.is_editing() {
            let now = rustix::termios::OptionalActions::Now;
            // A terminal that is gone needs nothing back.
            let _ = rustix::termios::tcsetattr(std::io::stdin(), now, &self.before);
            screen.set_editing(false);
            screen.print_bytes(PASTE_OFF);
        }
    }
}

/// Ends bracketed paste, and the line.
const PASTE_OFF: &[u8] = b"\x1b[?2004l\r\n";
