//! The text of a profile and of those it extends, made one table in which every value still has its place. Pure.
//!
//! The spans of all texts share one number line: each text begins behind the end of the one before it. So a span alone
//! says which file it is in, and whoever checks the merged table need not know that there were several.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::profile::{Extends, ProfileSource, is_lane_name};
use super::profile_error::{ProfileError, ProfileErrorKind};
use crate::near::nearest;

/// What is wrong, and where on the number line of its [`Chain`].
pub(super) type Fault = (Range<usize>, ProfileErrorKind);

/// The texts of one profile, its own first.
#[derive(Clone, Copy)]
pub(super) struct Chain<'a>(pub(super) &'a [ProfileSource<'a>]);

impl<'a> Chain<'a> {
    /// Returns the source that holds this offset, and where in its text that is.
    pub(super) fn locate(self, offset: usize) -> Option<(&'a ProfileSource<'a>, usize)> {
        let mut offset = offset;
        for source in self.0 {
            if offset <= source.text.len() {
                return Some((source, offset));
            }
            offset -= source.text.len() + 1;
        }
        None
    }

    /// Says a fault with its file, line and column.
    pub(super) fn error(self, (span, kind): Fault) -> ProfileError {
        let (file, (line, column)) = match self.locate(span.start) {
            Some((source, offset)) => (source.file.to_owned(), place(source.text, offset)),
            None => (PathBuf::new(), (1, 1)),
        };
        ProfileError { file, line, column, kind }
    }

    /// Reads all texts and merges them: tables key by key, where the nearer text wins; everything else as a whole.
    pub(super) fn merged(self) -> Result<Spanned<DeTable<'a>>, Fault> {
        let mut merged: Option<Spanned<DeTable<'a>>> = None;
        let mut base = 0;
        for (index, source) in self.0.iter().enumerate() {
            let table = DeTable::parse(source.text).map_err(|error| shifted(toml_fault(&error), base))?;
            let mut table = Spanned::new(moved(table.span(), base), move_table(table.into_inner(), base));
            check_extends(table.get_mut(), index + 1 == self.0.len())?;
            match &mut merged {
                None => merged = Some(table),
                Some(merged) => {
                    check_same_kind(merged.get_ref(), table.get_ref())?;
                    merge(merged.get_mut(), table.into_inner());
                }
            }
            base += source.text.len() + 1;
        }
        merged.ok_or_else(|| {
            let kind =
                ProfileErrorKind::Caller { got: "nothing".to_owned(), wanted: "the text of a profile" };
            (0..0, kind)
        })
    }
}

/// Returns what a text extends, if it says so in a way that could work; anything else is for [`Chain::merged`] to say.
pub(super) fn extends_of(text: &str) -> Option<Extends> {
    let table = DeTable::parse(text).ok()?;
    let value = table.get_ref().get("extends")?;
    let name = value.get_ref().as_str().filter(|name| is_lane_name(name))?.to_owned();
    let (line, column) = place(text, value.span().start);
    Some(Extends { name, line, column })
}

/// Takes `extends` out of the table: it has done its work when the next text is there.
fn check_extends(table: &mut DeTable<'_>, is_last: bool) -> Result<(), Fault> {
    let Some(value) = table.remove("extends") else {
        if is_last {
            return Ok(());
        }
        let kind = ProfileErrorKind::Caller {
            got: "a further text".to_owned(),
            wanted: "extended by the one before it",
        };
        return Err((0..0, kind));
    };
    let span = value.span();
    let Some(name) = value.get_ref().as_str() else {
        let message = format!("invalid type: {}, expected a string", value.get_ref().type_str());
        return Err((span, ProfileErrorKind::Toml(message)));
    };
    if !is_lane_name(name) {
        let (got, wanted) = (name.to_owned(), "the name of a profile".to_owned());
        return Err((span, ProfileErrorKind::BadValue { key: "extends", got, wanted }));
    }
    if is_last {
        let (name, near, known) = (name.to_owned(), None, Vec::new());
        return Err((span, ProfileErrorKind::NoSuchBase { name, near, known }));
    }
    Ok(())
}

fn check_same_kind(ours: &DeTable<'_>, theirs: &DeTable<'_>) -> Result<(), Fault> {
    let word = |table: &DeTable<'_>| {
        let value = table.get("kind")?;
        Some((value.span(), value.get_ref().as_str()?.to_owned()))
    };
    match (word(ours), word(theirs)) {
        (Some((span, ours)), Some((_, theirs))) if ours != theirs => {
            let what = format!("`kind = {ours:?}`");
            let needs = format!("the same `kind` in the profile that is extended, which has {theirs:?}");
            Err((span, ProfileErrorKind::Contradiction { what, needs }))
        }
        _ => Ok(()),
    }
}

fn merge<'i>(ours: &mut DeTable<'i>, theirs: DeTable<'i>) {
    for (key, their_value) in theirs {
        match ours.get_mut(&**key.get_ref()) {
            None => drop(ours.insert(key, their_value)),
            Some(our_value) => {
                if let (DeValue::Table(ours), DeValue::Table(theirs)) =
                    (our_value.get_mut(), their_value.into_inner())
                {
                    merge(ours, theirs);
                }
            }
        }
    }
}

fn move_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    table
        .into_iter()
        .map(|(key, value)| (Spanned::new(moved(key.span(), by), key.into_inner()), move_value(value, by)))
        .collect()
}

fn move_value(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = moved(value.span(), by);
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(move_table(table, by)),
        DeValue::Array(items) => DeValue::Array(items.into_iter().map(|item| move_value(item, by)).collect()),
        scalar => scalar,
    };
    Spanned::new(span, value)
}

fn shifted((span, kind): Fault, by: usize) -> Fault {
    (moved(span, by), kind)
}

fn moved(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

/// Returns line and column, both from 1, of a byte offset.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Turns serde's sentence "unknown field `x`, expected one of `a`, `b`" into names; anything else is kept.
pub(super) fn toml_fault(error: &toml::de::Error) -> Fault {
    let span = error.span().unwrap_or(0..0);
    let message = error.message();
    let mut names = message.split('`').skip(1).step_by(2).map(str::to_owned);
    let is_key = message.starts_with("unknown field `");
    let kind = if is_key || message.starts_with("unknown variant `") {
        let got = names.next().unwrap_or_default();
        let known: Vec<String> = names.collect();
        let near = nearest(&got, known.iter().map(String::as_str)).map(str::to_owned);
        if is_key {
            ProfileErrorKind::UnknownKey { key: got, near, known }
        } else {
            ProfileErrorKind::UnknownValue { value: got, near, known }
        }
    } else {
        ProfileErrorKind::Toml(message.lines().collect::<Vec<_>>().join(", "))
    };
    (span, kind)
}
