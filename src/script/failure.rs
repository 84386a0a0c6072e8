//! Why a script stopped: one value from the place where it happened up to the report.

use std::fmt;
use std::path::PathBuf;

use mlua::{MetaMethod, UserData, UserDataFields, UserDataMethods};

use crate::journal::run::FailureNote;

/// Why a script, or a part of it, stopped.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What kind of thing happened; scripts see its name as `err.kind`.
    pub kind: FailureKind,
    /// What was wanted, what was got. Several lines are indented by the reader.
    pub message: String,
    /// The script's line that this is about.
    pub place: Option<Place>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Lua's traceback, for errors of the script itself.
    pub traceback: Option<String>,
    /// Names of the steps it happened in, outermost first.
    pub steps: Vec<String>,
    /// The screen at that moment, relative to the attempt's folder.
    pub screenshot: Option<PathBuf>,
    /// INVARIANT: a fatal failure cannot be caught by the script.
    pub(super) fatal: bool,
    /// Whether somebody at a prompt has had it, and let it be.
    pub(super) was_held: bool,
}

/// A line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path as the script was named.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
}

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// An expectation did not hold.
    Expectation,
    /// A wait, a step or the scenario reached its deadline.
    Timeout,
    /// The machine ended while the scenario needed it.
    MachineEnded,
    /// The host took the machine away: not the scenario's fault.
    LaneLost,
    /// A call was wrong: an unknown option, a wrong type.
    Usage,
    /// An error of the script itself.
    Script,
    /// The scenario does not apply here.
    Skip,
    /// The run was cancelled.
    Cancelled,
    /// A mistake of ours.
    Bug,
}

impl FailureKind {
    /// The name scripts see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expectation => "expectation",
            Self::Timeout => "timeout",
            Self::MachineEnded => "machine_ended",
            Self::LaneLost => "lane_lost",
            Self::Usage => "usage",
            Self::Script => "script",
            Self::Skip => "skip",
            Self::Cancelled => "cancelled",
            Self::Bug => "bug",
        }
    }
}

impl Failure {
    /// A failure without a place.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let fatal = matches!(kind, FailureKind::Skip | FailureKind::LaneLost | FailureKind::Cancelled);
        Self {
            kind,
            message: message.into(),
            place: None,
            hint: None,
            traceback: None,
            steps: Vec::new(),
            screenshot: None,
            fatal,
            was_held: false,
        }
    }

    /// A wrong call.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, message)
    }

    /// With the place, unless it has one.
    #[must_use]
    pub fn at(mut self, place: Option<Place>) -> Self {
        self.place = self.place.or(place);
        self
    }

    /// As it is kept on disk.
    pub fn note(&self) -> FailureNote {
        FailureNote {
            kind: self.kind.name().to_owned(),
            message: self.message.clone(),
            file: self.place.as_ref().map(|place| place.file.clone()),
            line: self.place.as_ref().map(|place| place.line),
            hint: self.hint.clone(),
            steps: self.steps.clone(),
            screenshot: self.screenshot.as_ref().map(|path| path.display().to_string()),
            traceback: self.traceback.clone(),
        }
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// One that no `pcall` of the script can swallow.
    #[must_use]
    pub(super) fn fatal(mut self) -> Self {
        self.fatal = true;
        self
    }

    /// Whether the other one is about the same thing, whatever was added to it on its way.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.message == other.message && self.place == other.place
    }

    /// Recovers the failure inside a Lua error, or makes one of kind `script` of it.
    pub(super) fn from_lua(error: &mlua::Error) -> Self {
        if let Some(failure) = error.downcast_ref::<Self>() {
            return failure.clone();
        }
        match error {
            mlua::Error::CallbackError { traceback, cause } => {
                let mut failure = Self::from_lua(cause);
                failure.traceback = failure.traceback.or_else(|| readable_traceback(traceback));
                failure
            }
            mlua::Error::WithContext { cause, .. } => Self::from_lua(cause),
            mlua::Error::BadArgument { to, pos, name, cause } => {
                wrong_argument(to.as_deref(), *pos, name.as_deref(), cause)
            }
            mlua::Error::MemoryError(_) => Self::new(
                FailureKind::Script,
                format!(
                    "the script needs more than its {} MiB of memory",
                    super::sandbox::MEMORY_LIMIT >> 20
                ),
            )
            .hint("look for a table or text that grows in a loop, and for a function that calls itself for ever")
            .fatal(),
            other => Self::from_text(&other.to_string()),
        }
    }

    /// Splits `file:line: message\nstack traceback:…` as Lua writes it.
    fn from_text(text: &str) -> Self {
        let text = text
            .strip_prefix("runtime error: ")
            .or_else(|| text.strip_prefix("syntax error: "))
            .unwrap_or(text);
        let (message, traceback) = match text.split_once("\nstack traceback:") {
            Some((message, traceback)) => (message, readable_traceback(traceback)),
            None => (text, None),
        };
        let (place, message) = split_place(message);
        let mut failure = Self::new(FailureKind::Script, message);
        failure.place = place;
        failure.traceback = traceback;
        failure
    }
}

/// An argument that is missing or of a wrong type, in the words of whoever wrote the script.
fn wrong_argument(to: Option<&str>, pos: usize, name: Option<&str>, cause: &mlua::Error) -> Failure {
    let call = to.map(call_name);
    if name == Some("self") {
        let call = call.unwrap_or_default();
        return Failure::usage(format!("{call}: called without its object"))
            .hint(format!("methods are called with a colon: `{call}(…)`"));
    }
    // Methods count their receiver as the first argument, functions have none.
    let pos = if call.is_some() { pos.saturating_sub(1).max(1) } else { pos };
    let call = call.map_or_else(String::new, |call| format!("{call}: "));
    let cause = match cause {
        mlua::Error::FromLuaConversionError { from, to, .. } => {
            format!("wants {}, got {}", in_lua(to), in_lua(from))
        }
        other => other.to_string(),
    };
    Failure::usage(format!("{call}argument {pos} {cause}"))
}

/// A type as scripts know it: `f64` is a number.
fn in_lua(type_name: &str) -> String {
    match type_name {
        "nil" => "nil".to_owned(),
        "String" | "string" => "a string".to_owned(),
        "f64" | "integer" | "number" => "a number".to_owned(),
        list if list.contains("Vec") => "a list".to_owned(),
        other => format!("a {}", other.to_lowercase()),
    }
}

/// `LaneSkin.wait_for_shutdown` is how mlua names the method; scripts write `lane:wait_for_shutdown`.
fn call_name(rust_name: &str) -> String {
    match rust_name.split_once('.') {
        Some(("TestSkin", method)) => format!("t:{method}"),
        Some((skin, method)) => format!("{}:{method}", skin.trim_end_matches("Skin").to_lowercase()),
        None => rust_name.to_owned(),
    }
}

/// Splits a leading `file:line: ` off a message.
pub(super) fn split_place(message: &str) -> (Option<Place>, &str) {
    let mut from = 0;
    while let Some(colon) = message[from..].find(':').map(|at| at + from) {
        let rest = &message[colon + 1..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if let (Ok(line), Some(message_text)) = (rest[..digits].parse(), rest[digits..].strip_prefix(": "))
            && !message[..colon].contains('\n')
        {
            return (Some(Place { file: message[..colon].to_owned(), line }), message_text);
        }
        from = colon + 1;
    }
    (None, message)
}

/// Drops the frames that belong to the binding layer.
pub(super) fn readable_traceback(traceback: &str) -> Option<String> {
    let frames: Vec<&str> = traceback
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && *line != "stack traceback:")
        .filter(|line| {
            !(line.contains("__mlua")
                || line.starts_with("[C]:")
                || line.contains("[prelude]")
                || line.contains("[hold]"))
        })
        .filter(|line| !line.starts_with("[string \"=") && !line.contains("(...tail calls...)"))
        .collect();
    (!frames.is_empty()).then(|| frames.join("\n"))
}

impl std::error::Error for Failure {}

impl From<Failure> for mlua::Error {
    fn from(failure: Failure) -> Self {
        Self::external(failure)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What a script holds after `pcall` caught one of our failures: `err.kind`, `err.message`, `tostring(err)`.
#[derive(Clone)]
pub(super) struct Caught(pub(super) Failure);

impl UserData for Caught {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("kind", |_, caught| Ok(caught.0.kind.name()));
        fields.add_field_method_get("message", |_, caught| Ok(caught.0.message.clone()));
        fields.add_field_method_get("line", |_, caught| Ok(caught.0.place.as_ref().map(|place| place.line)));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, caught, ()| Ok(caught.0.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lua_messages_are_split_into_place_and_text() {
        let failure = Failure::from_text(
            "runtime error: a/b.lua:12: attempt to index nil: x: 3: y\nstack traceback:\n\t[C]: in ?\n\ta/b.lua:12: in f",
        );
        assert_eq!(failure.place, Some(Place { file: "a/b.lua".to_owned(), line: 12 }));
        assert_eq!(failure.message, "attempt to index nil: x: 3: y");
        assert_eq!(failure.traceback.as_deref(), Some("a/b.lua:12: in f"));
    }

    #[test]
    fn a_message_without_a_place_stays_whole() {
        assert_eq!(split_place("12 apples: 3 left"), (None, "12 apples: 3 left"));
    }
}
