//! The cases of a scenario: a list or a map of tables of parameters.

use std::collections::BTreeMap;

use mlua::{Table, Value};
use serde_json::{Map, Value as Json};

use super::failure::Failure;
use super::options::describe;
use super::scenario::Case;
use super::values::to_json;
use crate::journal::matching::show;

/// Reads a table of cases: a list in its order, a map sorted by the cases' names. `call` is how messages begin.
pub(super) fn cases_of(call: &str, table: &Table) -> Result<Vec<Case>, Failure> {
    let cases = match table.raw_len() {
        0 => of_map(call, table)?,
        count => of_list(call, table, count)?,
    };
    if cases.is_empty() {
        return Err(Failure::usage(format!("{call}: there is no case in the table"))
            .hint("a scenario without cases runs once; leave the table away"));
    }
    if cases.len() > MOST_CASES {
        return Err(Failure::usage(format!("{call}: {} cases, at most {MOST_CASES}", cases.len())));
    }
    let mut first = BTreeMap::new();
    for (case, number) in cases.iter().zip(1..) {
        if let Some(first) = first.insert(&case.name, number) {
            let message = format!("{call}: cases {first} and {number} are both named {:?}", case.name);
            return Err(Failure::usage(message).hint("give each a `name` of its own"));
        }
    }
    Ok(cases)
}

fn of_list(call: &str, table: &Table, count: usize) -> Result<Vec<Case>, Failure> {
    let mut cases = Vec::new();
    let mut keys = 0;
    for pair in table.pairs::<Value, Value>() {
        pair.map_err(|error| Failure::from_lua(&error))?;
        keys += 1;
    }
    if keys != count {
        return Err(Failure::usage(format!("{call}: wants either a list of cases or named ones, got both")));
    }
    for (entry, number) in table.sequence_values::<Value>().zip(1..) {
        let entry = entry.map_err(|error| Failure::from_lua(&error))?;
        let what = format!("{call}: case {number}");
        let mut params = params(&what, &entry)?;
        let name = match params.remove("name") {
            None => named_by(&params),
            Some(Json::String(name)) => name,
            Some(other) => {
                return Err(Failure::usage(format!("{what}: `name` is a string, got {}", show(&other))));
            }
        };
        if name.trim().is_empty() {
            return Err(Failure::usage(format!("{what} has neither a name nor a value")));
        }
        cases.push(Case { name, params });
    }
    Ok(cases)
}

fn of_map(call: &str, table: &Table) -> Result<Vec<Case>, Failure> {
    let mut cases = BTreeMap::new();
    for pair in table.pairs::<Value, Value>() {
        let (name, entry) = pair.map_err(|error| Failure::from_lua(&error))?;
        let name = match &name {
            Value::String(name) if !name.to_string_lossy().trim().is_empty() => name.to_string_lossy(),
            other => {
                let got = describe(other);
                return Err(Failure::usage(format!("{call}: a case's name is a text, got {got}")));
            }
        };
        let params = params(&format!("{call}: case {name:?}"), &entry)?;
        cases.insert(name, params);
    }
    Ok(cases.into_iter().map(|(name, params)| Case { name, params }).collect())
}

fn params(what: &str, entry: &Value) -> Result<Map<String, Json>, Failure> {
    let wrong = |got: &str| {
        Failure::usage(format!("{what}: wants a table of parameters, got {got}"))
            .hint("such as `{ name = \"as root\", user = \"root\" }`; scripts find it in `t.params`")
    };
    let Value::Table(_) = entry else { return Err(wrong(&describe(entry))) };
    let json = to_json(entry).map_err(|error| {
        let failure = Failure::from_lua(&error);
        Failure::usage(format!("{what}: {}", failure.message))
    })?;
    match json {
        Json::Object(params) => Ok(params),
        _ => Err(wrong("a list")),
    }
}

/// The name of a case that has none: what it says.
fn named_by(params: &Map<String, Json>) -> String {
    let values = params.iter().map(|(key, value)| match value {
        Json::String(text) => format!("{key}={text}"),
        other => format!("{key}={}", show(other)),
    });
    let name = values.collect::<Vec<_>>().join(", ");
    match name.char_indices().nth(NAME_CHARS) {
        Some((cut, _)) => format!("{}…", &name[..cut]),
        None => name,
    }
}

const MOST_CASES: usize = 10_000;
const NAME_CHARS: usize = 100;
