//! A scenario that stands still: what somebody at a prompt sees of it, and may ask of it.
//!
//! A failed call of a held attempt, or `t:hold()`, sends a [`Held`] to whoever asked for [`super::AttemptOptions::prompts`],
//! and waits for their [`Ask`]s until one of them ends it. Everything here is data; the script's thread answers.

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::failure::{Failure, Place};
use crate::journal::Journal;
use crate::lane::handle::LaneHandle;

/// A scenario that stands still.
pub struct Held {
    /// The call that failed; none: the script asked for a prompt with `t:hold()`.
    pub failure: Option<Failure>,
    /// The line it stands at.
    pub place: Option<Place>,
    /// Names of the steps around it, outermost first.
    pub steps: Vec<String>,
    /// The scenario's name.
    pub scenario: String,
    /// Whether this is a session's own prompt, which stands in no scenario.
    pub is_session: bool,
    /// The script's functions that are being called, innermost first.
    pub frames: Vec<Frame>,
    /// The machines, with what the scenario calls them when it has several.
    pub lanes: Vec<(Option<String>, LaneHandle)>,
    /// What is to be known about the machines now, such as that one goes on because it cannot be paused.
    pub notes: Vec<String>,
    /// Steps whose beginning the machine can be put back to, outermost first.
    pub rewindable: Vec<String>,
    /// Everything that was seen and done so far.
    pub journal: Journal,
    /// The attempt's folder.
    pub folder: PathBuf,
    /// Where questions go. When nobody is left to ask, the scenario is aborted.
    pub asks: mpsc::Sender<Ask>,
}

/// A function of the script that is being called.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What it is called, as far as that is known.
    pub function: String,
    /// Where it stands.
    pub place: Option<Place>,
    /// Its local variables in the order of their declaration, then what it sees of functions around it.
    pub variables: Vec<Variable>,
}

/// A variable of a function.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Whether it belongs to a function around this one.
    pub is_upvalue: bool,
    /// What it holds.
    pub value: Shown,
}

/// A Lua value, for people.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// `nil`.
    Nil,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Number(f64),
    /// Text, at most [`TEXT_CHARS`] characters of it; the whole length in bytes.
    Text(String, usize),
    /// A list and how many more items it has.
    List(Vec<Shown>, usize),
    /// Keys, sorted, and how many more there are.
    Record(Vec<(String, Shown)>, usize),
    /// What has no value to show, such as a function or one of our objects.
    Thing(String),
}

/// Characters of a text that are shown at most.
pub const TEXT_CHARS: usize = 4096;

/// What somebody at a prompt asks.
pub enum Ask {
    /// Runs a piece of Lua: an expression, whose values are answered, or statements. It sees the variables of
    /// the frames, then `t`, `keyboard`, `mouse`, `screen`, `digest`, `serial`, `agent`, `lane`.
    Eval {
        /// The text.
        source: String,
        /// What messages call it, such as `prompt:3`.
        name: String,
        /// Stops just this.
        cancel: CancellationToken,
        /// The values, or why there are none.
        answer: oneshot::Sender<Result<Vec<Shown>, Failure>>,
    },
    /// Loads a script file into a session: its scenarios can be run then.
    Source {
        /// The script.
        script: super::Script,
        /// Stops just this.
        cancel: CancellationToken,
        /// Names of its scenarios and cases.
        answer: oneshot::Sender<Result<Vec<String>, Failure>>,
    },
    /// Runs a scenario that was loaded, on the machine as it is now; it is held where it fails.
    Run {
        /// Its name; none: the only one.
        scenario: Option<String>,
        /// Stops just this.
        cancel: CancellationToken,
        /// Why it did not pass.
        answer: oneshot::Sender<Result<(), Failure>>,
    },
    /// The frames as they are now.
    Frames {
        /// The same as [`Held::frames`].
        answer: oneshot::Sender<Vec<Frame>>,
    },
    /// Everything that has a name at this prompt, and the kind of thing it is, for completion.
    Names {
        /// Sorted.
        answer: oneshot::Sender<Vec<(String, String)>>,
    },
    /// Puts the machines back to the beginning of a step; then [`Decision::Retry`] plays that step again.
    Rewind {
        /// The innermost step of that name; none: the innermost step.
        step: Option<String>,
        /// The step.
        answer: oneshot::Sender<Result<String, Failure>>,
    },
    /// Ends the prompt.
    End(Decision),
}

/// How a prompt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The failed call runs again, or the step that was gone back to.
    Retry,
    /// The scenario goes on behind the failed call, which returns nothing. It has failed all the same.
    Continue,
    /// The scenario ends here, as it would have without a prompt; a session ends.
    Abort,
}

/// Whether a piece of Lua is cut off in the middle, so that more lines may complete it.
pub fn is_incomplete(source: &str) -> bool {
    let lua = mlua::Lua::new();
    // With the line's end, which a text between quotes cannot go beyond.
    let compile = |head: &str| {
        let text = format!("{head}{source}\n");
        lua.load(text).set_mode(mlua::chunk::ChunkMode::Text).into_function().map(drop)
    };
    let is_cut = |compiled: &mlua::Result<()>| {
        matches!(compiled, Err(mlua::Error::SyntaxError { incomplete_input: true, .. }))
    };
    let expression = compile("return ");
    // A name alone is a whole expression, though as a statement it lacks something.
    expression.is_err() && (is_cut(&expression) || is_cut(&compile("")))
}

#[cfg(test)]
mod tests {
    use super::is_incomplete;

    #[test]
    fn what_more_lines_can_complete_is_incomplete() {
        for cut in
            ["for i = 1, 3 do", "{", "t:step(\"a\", function()", "x = [[", "return 1 +", "-- a\nif x then"]
        {
            assert!(is_incomplete(cut), "{cut}");
        }
        for whole in
            ["", "1 + 1", "x = 1", "end", "digest:latest()", "for i = 1, 3 do end", "\"a", "row", "t.row"]
        {
            assert!(!is_incomplete(whole), "{whole}");
        }
    }
}
