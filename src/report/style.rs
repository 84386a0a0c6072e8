//! How text looks: colours when they are wanted, nothing otherwise.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

/// What the other end can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colours are wanted.
    pub color: bool,
    /// Whether a line may be redrawn: a terminal with a person before it.
    pub live: bool,
    /// Columns.
    pub width: usize,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy)]
pub enum Tone {
    /// Something passed.
    Good,
    /// Something failed.
    Bad,
    /// Something deserves attention.
    Warn,
    /// Something less important.
    Faint,
    /// A heading.
    Strong,
    /// A place or a name.
    Place,
}

impl Look {
    /// Returns `text` in the tone, or as it is where colours are not wanted.
    pub fn paint(&self, tone: Tone, text: impl Display) -> String {
        if !self.color {
            return text.to_string();
        }
        let style = match tone {
            Tone::Good => AnsiColor::Green.on_default().bold(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
            Tone::Warn => AnsiColor::Yellow.on_default(),
            Tone::Faint => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
            Tone::Place => AnsiColor::Cyan.on_default(),
        };
        format!("{style}{text}{style:#}")
    }
}
