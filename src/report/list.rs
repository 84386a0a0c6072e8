//! What `backstaff list` says.

use std::io::Write;

use serde_json::{Value, json};

use super::failure::printable;
use super::style::{Look, Tone};
use crate::journal::run::{Shard, Timings};
use crate::runner::{LoadError, Loaded, Test};

/// Tests that would run.
pub struct List<'a> {
    /// The tests, and scripts that do not load.
    pub loaded: &'a Loaded,
    /// Which part of the list this is.
    pub shard: Option<Shard>,
    /// How many tests the whole list has.
    pub list_tests: usize,
    /// The digest of the whole list's ids.
    pub list_digest: String,
    /// How long tests took in earlier runs, by their ids.
    pub timings: &'a Timings,
}

/// The name of the JSON document.
const FORMAT: &str = "backstaff-list";
const VERSION: u32 = 1;

/// For people.
///
/// # Errors
/// The writer fails.
pub fn text(list: &List<'_>, look: Look, out: &mut impl Write) -> std::io::Result<()> {
    let tests = &list.loaded.tests;
    let mut file = None;
    for test in tests {
        if file != Some(&test.script.path) {
            file = Some(&test.script.path);
            let path = printable(&test.script.path.display().to_string());
            writeln!(out, "{}", look.paint(Tone::Strong, path))?;
        }
        let mut facts = vec![test.lane()];
        facts.extend(test.scenario.tags.iter().map(|tag| format!("#{tag}")));
        if !test.scenario.needs.is_empty() {
            let needs: Vec<&str> = test.scenario.needs.iter().map(|need| need.name()).collect();
            facts.push(format!("needs {}", needs.join(" ")));
        }
        if let Some(took) = list.timings.of(&test.id) {
            facts.push(format!("{:.1} s", took.as_secs_f64()));
        }
        let facts = look.paint(Tone::Faint, printable(&facts.join(", ")));
        writeln!(out, "  {:>4}  {}  {facts}", test.scenario.place.line, printable(&test.title()))?;
    }
    if list.list_tests == 0 {
        return Ok(());
    }
    let noun = if tests.len() == 1 { "test" } else { "tests" };
    let part = list.shard.map_or_else(String::new, |shard| {
        format!(", part {} of {} of a list of {}", shard.index, shard.total, list.list_tests)
    });
    let narrowed = if list.loaded.is_narrowed { ", only those marked with `only`" } else { "" };
    writeln!(out, "{} {noun}{part}{narrowed}", tests.len())
}

/// A line for each id.
///
/// # Errors
/// The writer fails.
pub fn ids(list: &List<'_>, out: &mut impl Write) -> std::io::Result<()> {
    list.loaded.tests.iter().try_for_each(|test| writeln!(out, "{}", test.id))
}

/// `{"format":"backstaff-list","version":1,…}`.
///
/// # Errors
/// The writer fails.
pub fn json(list: &List<'_>, out: &mut impl Write) -> std::io::Result<()> {
    let tests: Vec<Value> = list.loaded.tests.iter().map(|test| test_json(test, list.timings)).collect();
    let not_loaded: Vec<Value> = list
        .loaded
        .failed
        .iter()
        .map(|failed| {
            let note = match &failed.error {
                LoadError::Script(failure) => json!(failure.note()),
                LoadError::Read { path, source } => {
                    json!({"kind": "script", "message": format!("read {path}: {source}")})
                }
            };
            json!({"file": failed.path.display().to_string(), "failure": note})
        })
        .collect();
    let document = json!({
        "format": FORMAT,
        "version": VERSION,
        "declared": list.loaded.declared,
        "list_tests": list.list_tests,
        "list_digest": list.list_digest,
        "shard": list.shard,
        "tests": tests,
        "not_loaded": not_loaded,
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn test_json(test: &Test, timings: &Timings) -> Value {
    let mut json = json!(test.note());
    json["timeout_s"] = json!(test.scenario.timeout.as_secs_f64());
    if let Some(case) = &test.scenario.case {
        json["params"] = json!(case.params);
    }
    if let Some(took) = timings.of(&test.id) {
        json["took_ms"] = json!(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    }
    json
}
