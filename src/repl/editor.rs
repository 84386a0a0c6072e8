//! The line editor, on a thread of its own: it blocks until a line is whole.

use std::borrow::Cow;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc as sync};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, ExternalPrinter as _, Helper};
use tokio::sync::mpsc;

use super::complete::{Candidate, Names, complete};
use super::input::Line;
use super::lua::{self, Kind};
use super::screen::Screen;
use crate::report::style::{Look, Tone};
use crate::script::prompt::is_incomplete;

/// The way to the editor's thread.
pub(super) struct EditorHandle {
    requests: sync::Sender<String>,
    lines: mpsc::UnboundedReceiver<Line>,
    /// Whether a line was asked for that has not come.
    is_waiting: bool,
    /// What completion knows of this prompt.
    pub(super) names: Arc<Mutex<Names>>,
}

/// What the editor needs to know.
pub(super) struct EditorConfig {
    pub(super) screen: Screen,
    /// Where lines are kept between sessions.
    pub(super) history: Option<PathBuf>,
}

impl EditorHandle {
    /// Starts the editor on the process's own terminal. The notes are what people should know of it.
    ///
    /// # Errors
    /// It has no terminal, or no thread.
    pub(super) fn start(config: EditorConfig) -> Result<(Self, Vec<String>), String> {
        let names = Arc::new(Mutex::new(Names::default()));
        let (requests, asked) = sync::channel();
        let (answers, lines) = mpsc::unbounded_channel();
        let (started, begun) = sync::channel();
        let thread = {
            let names = Arc::clone(&names);
            let run = move || match Session::open(config, names) {
                Ok((mut session, notes)) => {
                    let _ = started.send(Ok(notes));
                    session.serve(&asked, &answers);
                }
                Err(error) => drop(started.send(Err(error.to_string()))),
            };
            std::thread::Builder::new().name("line editor".to_owned()).spawn(run)
        };
        thread.map_err(|error| error.to_string())?;
        let notes = begun.recv().map_err(|_| "the editor's thread ended".to_owned())??;
        Ok((Self { requests, lines, is_waiting: false, names }, notes))
    }

    /// Asks for a line. Cancel safe: what comes late is answered to who asks next.
    pub(super) async fn next(&mut self, prompt: &str) -> Line {
        if !self.is_waiting {
            if self.requests.send(prompt.to_owned()).is_err() {
                return Line::Failed("the line editor is gone".to_owned());
            }
            self.is_waiting = true;
        }
        let line = self.lines.recv().await;
        self.is_waiting = false;
        line.unwrap_or_else(|| Line::Failed("the line editor is gone".to_owned()))
    }
}

struct Session {
    editor: Editor<Assistant, FileHistory>,
    screen: Screen,
    history: Option<PathBuf>,
    /// What was typed when the line was thrown away.
    typed: Arc<Mutex<String>>,
}

impl Session {
    fn open(config: EditorConfig, names: Arc<Mutex<Names>>) -> rustyline::Result<(Self, Vec<String>)> {
        let look = config.screen.look();
        let settings = Config::builder()
            .max_history_size(HISTORY_LINES)?
            .history_ignore_dups(true)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .color_mode(if look.color { ColorMode::Forced } else { ColorMode::Disabled })
            .auto_add_history(false)
            .bracketed_paste(true)
            .tab_stop(2)
            .build();
        let mut editor: Editor<Assistant, FileHistory> = Editor::with_config(settings)?;
        let typed = Arc::new(Mutex::new(String::new()));
        let assistant = Assistant { names, look, typed: Arc::clone(&typed), parts: RefCell::new(Vec::new()) };
        editor.set_helper(Some(assistant));
        // A terminal without cursor moves has no line to print above.
        if let Ok(mut printer) = editor.create_external_printer() {
            config.screen.set_printer(Box::new(move |text| printer.print(text).is_ok()));
        }
        let mut notes = Vec::new();
        let history = config.history.filter(|path| match prepare(&mut editor, path) {
            Ok(()) => true,
            Err(why) => {
                notes.push(format!("what is typed is not kept: {}: {why}", path.display()));
                false
            }
        });
        Ok((Self { editor, screen: config.screen, history, typed }, notes))
    }

    fn serve(&mut self, asked: &sync::Receiver<String>, answers: &mpsc::UnboundedSender<Line>) {
        while let Ok(prompt) = asked.recv() {
            self.typed.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.screen.set_editing(true);
            let read = self.editor.readline(&prompt);
            self.screen.set_editing(false);
            let line = match read {
                Ok(text) => {
                    self.keep(&text);
                    Line::Text(text)
                }
                Err(ReadlineError::Interrupted) => {
                    let typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
                    Line::Interrupted { had_text: !typed.trim().is_empty() }
                }
                Err(ReadlineError::Eof) => Line::End,
                Err(error) => Line::Failed(error.to_string()),
            };
            if answers.send(line).is_err() {
                return;
            }
        }
    }

    /// Keeps a line at once, so that a crash does not take it.
    fn keep(&mut self, text: &str) {
        let text = text.trim_end();
        if text.trim().is_empty() || !self.editor.add_history_entry(text).unwrap_or(false) {
            return;
        }
        if let Some(path) = &self.history
            && let Err(error) = self.editor.append_history(path)
        {
            self.screen
                .print(&format!("note: what is typed is not kept any more: {}: {error}", path.display()));
            self.history = None;
        }
    }
}

/// Loads what was kept, and tries whether more can be.
fn prepare(editor: &mut Editor<Assistant, FileHistory>, path: &Path) -> Result<(), String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.to_string()),
        // A pipe would keep us waiting for ever.
        Ok(metadata) if !metadata.is_file() => return Err("it is no file".to_owned()),
        Ok(metadata) if metadata.len() > MOST_HISTORY_BYTES => {
            return Err("it is larger than 8 MiB".to_owned());
        }
        Ok(_) => editor.load_history(path).map_err(|error| error.to_string())?,
    }
    let writable = std::fs::File::options().append(true).create(true).open(path);
    let file = writable.map_err(|error| error.to_string())?;
    // The editor wants its own first line in a file that is there.
    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        drop(file);
        std::fs::remove_file(path).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// What helps while a line is edited.
struct Assistant {
    names: Arc<Mutex<Names>>,
    look: Look,
    typed: Arc<Mutex<String>>,
    /// Kept between two keys, for their memory.
    parts: RefCell<Vec<String>>,
}

impl Helper for Assistant {}

impl Completer for Assistant {
    type Candidate = Candidate;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Candidate>)> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(complete(line, at, &names))
    }
}

impl rustyline::completion::Candidate for Candidate {
    fn display(&self) -> &str {
        &self.shown
    }

    fn replacement(&self) -> &str {
        &self.text
    }
}

impl Hinter for Assistant {
    type Hint = String;

    /// Gives no hint; it is where the editor says what the line is at each key.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        typed.clear();
        typed.push_str(line);
        None
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        Ok(match !text.trim_start().starts_with(':') && is_incomplete(text) {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Valid(None),
        })
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if !self.look.color || line.trim_start().starts_with(':') {
            return Cow::Borrowed(line);
        }
        let mut parts = self.parts.borrow_mut();
        parts.clear();
        let mut end = 0;
        for token in lua::tokens(line) {
            parts.push(line[end..token.at].to_owned());
            parts.push(match token.kind {
                Kind::Keyword => self.look.paint(Tone::Strong, token.text),
                Kind::Text => self.look.paint(Tone::Good, token.text),
                Kind::Comment => self.look.paint(Tone::Faint, token.text),
                Kind::Number => self.look.paint(Tone::Place, token.text),
                Kind::Name | Kind::Symbol => token.text.to_owned(),
            });
            end = token.at + token.text.len();
        }
        parts.push(line[end..].to_owned());
        Cow::Owned(parts.concat())
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Owned(self.look.paint(Tone::Strong, prompt))
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.look.color && kind != CmdKind::MoveCursor
    }
}

const HISTORY_LINES: usize = 2_000;
const MOST_HISTORY_BYTES: u64 = 8 << 20;
