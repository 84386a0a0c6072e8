//! Why a profile does not load: the place, what is wrong there, and what to do about it. Pure.

use std::fmt;
use std::path::PathBuf;

use super::fault::FaultMistake;

/// Why a profile does not load, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}:{column}: {kind}", .file.display())]
pub struct ProfileError {
    /// The profile.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: ProfileErrorKind,
}

impl ProfileError {
    /// Returns what the author could do, where that is not already in the message.
    pub fn hint(&self) -> Option<String> {
        match &self.kind {
            ProfileErrorKind::UnknownKey { near: None, known, .. }
            | ProfileErrorKind::UnknownValue { near: None, known, .. }
                if !known.is_empty() =>
            {
                Some(format!("known here: {}", known.join(", ")))
            }
            ProfileErrorKind::NoSuchBase { known, .. } if !known.is_empty() => {
                Some(format!("known lanes: {}", known.join(", ")))
            }
            ProfileErrorKind::Outside { .. } | ProfileErrorKind::LeadsOutside { .. } => {
                Some("move the file into the project, or set `allow_outside = true` at the top".to_owned())
            }
            ProfileErrorKind::Fault(mistake) => mistake.hint(),
            _ => None,
        }
    }
}

/// What is wrong with a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileErrorKind {
    /// A key that nothing reads.
    UnknownKey {
        /// As written.
        key: String,
        /// What was probably meant.
        near: Option<String>,
        /// What is read here.
        known: Vec<String>,
    },
    /// A word that is not one of the choices.
    UnknownValue {
        /// As written.
        value: String,
        /// What was probably meant.
        near: Option<String>,
        /// The choices.
        known: Vec<String>,
    },
    /// Not TOML, or a value of the wrong type; in the parser's words.
    Toml(String),
    /// A value out of its range or of the wrong form.
    BadValue {
        /// The key.
        key: &'static str,
        /// As written.
        got: String,
        /// What it may be.
        wanted: String,
    },
    /// A path that leaves the project tree.
    Outside {
        /// As written.
        path: String,
        /// The project tree.
        root: String,
    },
    /// A path whose text stays in the project tree, and which leads out of it all the same.
    LeadsOutside {
        /// As written.
        path: String,
        /// What it is in the end.
        leads_to: String,
        /// The project tree.
        root: String,
    },
    /// A key that only means something in a profile of another kind.
    OtherKind {
        /// The key.
        key: String,
        /// The kind it belongs to.
        kind: &'static str,
    },
    /// The profile that this one extends is not there.
    NoSuchBase {
        /// Its name.
        name: String,
        /// What was probably meant.
        near: Option<String>,
        /// Names of the profiles there are.
        known: Vec<String>,
    },
    /// A profile extends itself, directly or through others.
    Circle {
        /// Who extends whom, from the one that was asked for to the one that is met again.
        chain: Vec<String>,
    },
    /// A profile extends one that extends one, and so on, too often.
    TooDeep {
        /// Who extends whom.
        chain: Vec<String>,
        /// How many texts may be part of a profile.
        limit: usize,
    },
    /// Keys which do not go together.
    Contradiction {
        /// What was asked for.
        what: String,
        /// What that needs.
        needs: String,
    },
    /// Keys of a fault that make none.
    Fault(FaultMistake),
    /// The caller named the profile or its tree in a way that cannot work.
    Caller {
        /// What was given.
        got: String,
        /// What it must be.
        wanted: &'static str,
    },
}

impl fmt::Display for ProfileErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key, near, .. } => write_unknown(f, "key", key, near.as_deref()),
            Self::UnknownValue { value, near, .. } => write_unknown(f, "value", value, near.as_deref()),
            Self::Toml(message) => f.write_str(message),
            Self::BadValue { key, got, wanted } => write!(f, "`{key}` is {got:?}, wanted {wanted}"),
            Self::Outside { path, root } => write!(f, "path {path:?} lies outside the project tree {root:?}"),
            Self::LeadsOutside { path, leads_to, root } => {
                write!(f, "path {path:?} leads to {leads_to:?}, outside the project tree {root:?}")
            }
            Self::OtherKind { key, kind } => write!(f, "`{key}` belongs to kind = \"{kind}\""),
            Self::NoSuchBase { name, near, .. } => {
                write!(f, "no lane profile named \"{name}\" to extend")?;
                near.as_ref().map_or(Ok(()), |near| write!(f, ", did you mean \"{near}\"?"))
            }
            Self::Circle { chain } => write!(f, "the profile extends itself: {}", chain.join(" extends ")),
            Self::TooDeep { chain, limit } => {
                write!(f, "more than {limit} profiles extend one another: {}", chain.join(" extends "))
            }
            Self::Fault(mistake) => write!(f, "{mistake}"),
            Self::Contradiction { what, needs } => write!(f, "{what} needs {needs}"),
            Self::Caller { got, wanted } => write!(f, "{got:?} is not {wanted}"),
        }
    }
}

fn write_unknown(f: &mut fmt::Formatter<'_>, noun: &str, got: &str, near: Option<&str>) -> fmt::Result {
    write!(f, "unknown {noun} `{got}`")?;
    near.map_or(Ok(()), |near| write!(f, ", did you mean `{near}`?"))
}
