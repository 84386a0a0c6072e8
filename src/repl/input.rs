//! Where lines come from: an editor on a terminal, or anything that can be read.

use std::io::BufRead;

use tokio::sync::mpsc;

use super::editor::EditorHandle;
use crate::script::prompt::is_incomplete;

/// What somebody did at the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// They typed this; several lines when the first was not whole.
    Text(String),
    /// Ctrl-C, and whether there was a line that it threw away.
    Interrupted { had_text: bool },
    /// Ctrl-D, or the end of what was piped.
    End,
    /// Nothing can be read any more.
    Failed(String),
}

/// Where lines come from.
pub(super) enum Input {
    Editor(EditorHandle),
    Piped(mpsc::Receiver<Line>),
}

impl Input {
    /// Lines of a pipe or file. A thread reads them, for reading may block.
    pub(super) fn piped(from: Box<dyn BufRead + Send>) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        let spawned =
            std::thread::Builder::new().name("piped lines".to_owned()).spawn(move || read(from, &sender));
        match spawned {
            Ok(_) => Self::Piped(receiver),
            // The channel is closed, which is the end of the lines.
            Err(_) => Self::Piped(mpsc::channel(1).1),
        }
    }

    /// Asks for the next line. Cancel safe: a line that is being typed is answered to who asks next.
    pub(super) async fn next(&mut self, prompt: &str) -> Line {
        match self {
            Self::Editor(editor) => editor.next(prompt).await,
            Self::Piped(lines) => lines.recv().await.unwrap_or(Line::End),
        }
    }

    /// Notes a line that was taken, so that it is there again in the next session.
    pub(super) fn is_editor(&self) -> bool {
        matches!(self, Self::Editor(_))
    }
}

fn read(mut from: Box<dyn BufRead + Send>, lines: &mpsc::Sender<Line>) {
    let mut text = String::new();
    loop {
        let mut bytes = Vec::new();
        // A line that never ends must not fill the memory.
        let read = std::io::Read::take(&mut from, MOST_BYTES).read_until(b'\n', &mut bytes);
        let line = match read {
            Ok(0) if text.is_empty() => return,
            // Cut off in the middle: Lua says what is missing.
            Ok(0) => Line::Text(std::mem::take(&mut text)),
            Ok(_) if bytes.len() as u64 >= MOST_BYTES => {
                Line::Failed("a line is longer than 1 MiB".to_owned())
            }
            Ok(_) => {
                text.push_str(&String::from_utf8_lossy(&bytes));
                if !text.starts_with(':') && is_incomplete(&text) {
                    continue;
                }
                Line::Text(std::mem::take(&mut text))
            }
            Err(error) => Line::Failed(error.to_string()),
        };
        let is_last = matches!(line, Line::Failed(_));
        if lines.blocking_send(line).is_err() || is_last {
            return;
        }
    }
}

const MOST_BYTES: u64 = 1 << 20;
