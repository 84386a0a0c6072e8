//! The Lua API as data: what `lua/meta` says of every name that scripts are given. Pure.
//!
//! Editors read the files in `lua/meta`, and so does this module; the prompt's help and completion, `backstaff check`,
//! `backstaff types` and `docs/reference.md` all read [`reference()`], so that none of them can say anything else.
//! Start reading at [`Reference`]. What is *bound* is up to `script`; a test compares the two.

mod find;
mod page;
mod read;
mod text;

use std::sync::LazyLock;

pub use find::{Entry, Member, Unknown};
pub use page::page;

/// The files for editors: their names, and their texts.
pub const FILES: &[(&str, &str)] = &[("backstaff.lua", include_str!("../../lua/meta/backstaff.lua"))];

/// Returns what [`FILES`] say, read once.
pub fn reference() -> &'static Reference {
    static REFERENCE: LazyLock<Reference> =
        LazyLock::new(|| Reference::read(FILES.iter().map(|file| file.1)));
    &REFERENCE
}

/// Everything a script can use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// What has members: what scripts hold, their option tables, and the records they are given.
    pub classes: Vec<Class>,
    /// The global functions, `scenario` among them.
    pub functions: Vec<Function>,
    /// The globals that are no functions, such as `any`.
    pub values: Vec<Field>,
    /// Names for types, such as `backstaff.Key`.
    pub aliases: Vec<Alias>,
}

/// A userdata, an option table or a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Class {
    /// Such as `backstaff.Digest`.
    pub name: String,
    /// As authors say it: `t.digest`, `t`, `expect(…)`; else the name without `backstaff.`.
    pub what: String,
    /// What it is, in paragraphs.
    pub doc: String,
    /// Its fields, or the keys of the option table, in the order of the file.
    pub fields: Vec<Field>,
    /// Its methods, in the order of the file.
    pub methods: Vec<Function>,
    /// Whether it is an option table: no other keys are allowed.
    pub is_options: bool,
    /// Whether scripts hold it as a handle with these members and no others, rather than as a plain table.
    pub is_handle: bool,
    /// The class whose fields it has as well.
    pub parent: Option<String>,
}

/// A field, a key of an option table, or a global value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type in LuaCATS.
    pub kind: String,
    /// Whether it may be missing.
    pub is_optional: bool,
    /// What it is, with unit and default.
    pub doc: String,
    /// A line of Lua that uses it.
    pub example: Option<String>,
}

/// A global function or a method.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Function {
    /// Such as `wait_for`.
    pub name: String,
    /// As authors say it: `digest:wait_for`, `t:step`, `at_least`.
    pub spoken: String,
    /// Such as `digest:wait_for(wanted, [options])`.
    pub signature: String,
    /// Its parameters, without `self`.
    pub params: Vec<Param>,
    /// The types of what it returns.
    pub returns: Vec<String>,
    /// What is said about those: for each its text, or nothing.
    pub return_docs: Vec<String>,
    /// What it does, in paragraphs, without the example.
    pub doc: String,
    /// A line of Lua that calls it.
    pub example: Option<String>,
    /// The class of its option table, such as `backstaff.WaitOptions`.
    pub options: Option<String>,
}

/// A parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Param {
    /// Its name; `...` for any number of them.
    pub name: String,
    /// Its type in LuaCATS.
    pub kind: String,
    /// Whether it may be left out.
    pub is_optional: bool,
    /// What it is, with unit and bounds.
    pub doc: String,
}

/// A name for a type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alias {
    /// Such as `backstaff.Phase`.
    pub name: String,
    /// The type it stands for.
    pub kind: String,
    /// What it is.
    pub doc: String,
    /// The values of a list of words, each with what is said about it.
    pub choices: Vec<(String, String)>,
}

impl Function {
    /// The position of the option table among the parameters.
    pub fn options_at(&self) -> Option<usize> {
        let options = self.options.as_deref()?;
        self.params.iter().position(|param| param.kind.trim_end_matches('?') == options)
    }
}

/// Returns a type as people read it: without the `backstaff.` before its names.
pub fn readable(kind: &str) -> String {
    kind.replace("backstaff.", "")
}

#[cfg(test)]
mod tests;
