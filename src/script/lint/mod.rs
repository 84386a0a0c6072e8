//! What is wrong with a script, as far as that can be said without running it: names and option keys that do not exist,
//! and input that nothing waits for.
//!
//! Start reading at [`lint`]. The names come from [`crate::reference`], so they are those that editors and the reference
//! page show. Where a script does something that cannot be followed, nothing is said: a wrong finding is worse than none.

mod allow;
mod lexer;
mod names;
mod parser;
mod place;
mod story;
mod syntax;
mod walk;

use super::failure::Failure;
use super::scenario::Script;
use crate::near::nearest;
pub use place::{Lines, Spot};

/// Something to look at in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which rule it breaks.
    pub rule: Rule,
    /// The path as the script was named.
    pub file: String,
    /// Where, when that is known.
    pub spot: Option<Spot>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It would not load, or fail when it is reached.
    Error,
    /// It runs, but hardly as it was meant.
    Warning,
}

impl Severity {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! rules {
    ($($variant:ident $name:literal $severity:ident $doc:literal)*) => {
        /// What scripts are held to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $doc] $variant,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name that findings carry, and that `allow` takes.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),* }
            }

            /// What it says, in a sentence.
            pub fn doc(self) -> &'static str {
                match self { $(Self::$variant => $doc),* }
            }
        }
    };
}

rules! {
    Unreadable "unreadable" Error "The script cannot be read, or is not UTF-8."
    Syntax "syntax" Error "The script is not Lua 5.4."
    Load "load" Error "The script fails at its top level, or declares a scenario wrongly."
    DuplicateName "duplicate-name" Error "Two scenarios of a file have the same name."
    UnknownLane "unknown-lane" Error "The lane that a scenario names has no profile, or one that is wrong."
    UnmetNeeds "unmet-needs" Error "No lane can offer what a scenario needs, so that it would always be skipped."
    UnknownGlobal "unknown-global" Error "A global that nobody sets is called or looked into."
    UnknownMember "unknown-member" Error "An object of the API, or a library of Lua, has no such method or field."
    UnknownOption "unknown-option" Error "An option table has a key that the call does not know."
    UnknownChoice "unknown-choice" Error "A word is none of those that the call knows."
    DotCall "dot-call" Error "A method is called with a dot, and so without its object."
    NilGlobal "nil-global" Warning "A global that nobody sets is read, and so is `nil`."
    NoWaitAfterInput "no-wait-after-input" Warning "A step gives input, and nothing afterwards waits for what that leads to."
    UnusedAllow "unused-allow" Warning "An `allow` comment allows nothing."
    WrongAllow "wrong-allow" Error "An `allow` comment has no reason, or names no rule."
    NotChecked "not-checked" Warning "The script is too large, or has too many findings, to be looked through."
}

/// Returns what there is to say about a script that can be parsed, in its order; nothing about one that cannot. `allow`
/// comments have been heeded.
pub fn lint(script: &Script) -> Vec<Finding> {
    let file = script.path.display().to_string();
    if script.source.trim_start().starts_with("---@meta") {
        // It describes the API for editors, and never runs.
        return Vec::new();
    }
    if script.source.len() > LARGEST {
        let message = format!(
            "the script has {} bytes, and only up to {LARGEST} are looked through: names and waits were not checked",
            script.source.len()
        );
        return vec![Finding { rule: Rule::NotChecked, file, spot: None, message, hint: None }];
    }
    let Ok(program) = parser::parse(&script.source) else { return Vec::new() };
    let mut found = walk::walk(&script.source, &program);
    allow::apply(&script.source, &program, &mut found);
    found.sort_by_key(|raw| (raw.start, raw.rule));
    found.dedup_by(|one, other| (one.start, one.rule) == (other.start, other.rule));
    let left_out = found.len().saturating_sub(MOST_FINDINGS);
    found.truncate(MOST_FINDINGS);
    let lines = Lines::new(&script.source);
    let mut findings: Vec<Finding> = found
        .into_iter()
        .map(|raw| Finding {
            rule: raw.rule,
            file: file.clone(),
            spot: Some(lines.spot(raw.start, raw.end)),
            message: raw.message,
            hint: raw.hint,
        })
        .collect();
    if left_out > 0 {
        let message = format!("and {left_out} further findings in this script");
        findings.push(Finding { rule: Rule::NotChecked, file, spot: None, message, hint: None });
    }
    findings
}

/// Returns the finding that a failure to load is.
pub fn of_failure(script: &Script, failure: &Failure) -> Finding {
    let file = script.path.display().to_string();
    let line = failure.place.as_ref().filter(|place| place.file == file).map(|place| place.line);
    let lines = Lines::new(&script.source);
    let broken = parser::parse(&script.source).err().map(|at| lines.spot(at, lexeme_end(&script.source, at)));
    let is_syntax =
        broken.is_some() && failure.kind == super::FailureKind::Script && failure.traceback.is_none();
    let spot = match (is_syntax, broken) {
        // Lua says the line; the parser here stumbles over the same token, and knows its column.
        (true, Some(spot)) if Some(spot.line) == line => Some(spot),
        _ => line.map(|line| lines.line_spot(line)),
    };
    let rule = match () {
        () if is_syntax => Rule::Syntax,
        () if failure.message.contains("is declared already") => Rule::DuplicateName,
        () => Rule::Load,
    };
    Finding { rule, file, spot, message: shortened(failure.message.clone()), hint: failure.hint.clone() }
}

/// Where the word or sign at `at` ends.
fn lexeme_end(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let word = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len();
    match word {
        0 => at + rest.chars().next().map_or(0, char::len_utf8),
        word => at + word,
    }
}

/// The name that was probably meant. Names that nobody types are not compared: that takes its time.
fn near<'a>(got: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if got.len() > LONGEST_NAME {
        return None;
    }
    nearest(got, known.into_iter().filter(|name| name.len() <= LONGEST_NAME).take(MOST_NAMES))
}

/// A message that holds a name of the script's, however long that is.
fn shortened(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
        message.truncate(end);
        message.push('…');
    }
    message
}

/// A finding by offsets.
#[derive(Debug)]
struct Raw {
    rule: Rule,
    start: usize,
    end: usize,
    message: String,
    hint: Option<String>,
}

/// Bytes of a script that is looked through; a tree takes a multiple of it.
const LARGEST: usize = 1 << 20;
const MOST_FINDINGS: usize = 100;
const LONGEST_NAME: usize = 64;
const MOST_NAMES: usize = 2_000;
const LONGEST_MESSAGE: usize = 300;

#[cfg(test)]
mod tests;
