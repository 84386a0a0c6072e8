//! Which scenarios a file holds, and what they need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use mlua::Value;
use mlua::chunk::ChunkMode;

use super::always::bind_rules;
use super::declare::{Declarations, Declared};
use super::failure::{Failure, FailureKind, Place};
use super::sandbox::{Sandbox, StopFlag};
use super::values::bind_matchers;
use super::{expect, test};
use crate::lane::handle::Capability;

/// A script's text, read once, so that what was checked is what runs.
#[derive(Debug, Clone)]
pub struct Script {
    /// The path as it was given; appears in every message.
    pub path: PathBuf,
    /// The text.
    pub source: Arc<str>,
}

/// A scenario as its file declares it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name, unique within the file.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    /// Which declaration of the file it comes from, from 0. Cases of one scenario share it.
    pub index: usize,
    /// What the lane must offer.
    pub needs: BTreeSet<Capability>,
    /// Labels.
    pub tags: Vec<String>,
    /// How long an attempt may take, the lane's bring-up not counted.
    pub timeout: Duration,
    /// Whether it may start from a saved machine; otherwise its machine boots.
    pub warm: bool,
    /// The lane it insists on; otherwise the run's.
    pub lane: Option<String>,
    /// What it calls its lanes, when it has several, and their names. Not together with `lane`.
    pub lanes: BTreeMap<String, String>,
    /// The case that this is, when the scenario has cases.
    pub case: Option<Case>,
    /// Whether its author wanted to run only this for the moment.
    pub is_only: bool,
}

/// One row of a scenario's table of cases.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name, unique within the scenario.
    pub name: String,
    /// What it adds to `t.params`.
    pub params: serde_json::Map<String, serde_json::Value>,
}

/// Why a script does not load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("read {path}")]
    Read {
        /// The script.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a script, or declares its scenarios wrongly.
    #[error(transparent)]
    Script(Box<Failure>),
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// It cannot be read or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Read { path: path.display().to_string(), source };
        let bytes = std::fs::read(path).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            failed(std::io::Error::other(format!("not UTF-8 text from byte {valid} on")))
        })?;
        // Some editors mark UTF-8 with a byte order mark; to Lua it is a syntax error.
        let source = text.strip_prefix('\u{FEFF}').unwrap_or(&text).into();
        Ok(Self { path: path.to_owned(), source })
    }

    /// The text of a line, counted from 1.
    pub fn line(&self, line: u32) -> Option<&str> {
        let index = usize::try_from(line).ok()?.checked_sub(1)?;
        self.source.lines().nth(index)
    }
}

/// Finds the scenarios of a script by running its top level, without a lane. Blocks, at most for
/// [`LOAD_TIMEOUT`] and a second.
///
/// # Errors
/// The script does not compile, fails at its top level or declares something wrong.
pub fn load(script: &Script) -> Result<Vec<Scenario>, LoadError> {
    let stop = StopFlag::default();
    let (done, result) = mpsc::channel();
    let thread = {
        let (script, stop) = (script.clone(), stop.clone());
        std::thread::Builder::new().name("load".to_owned()).spawn(move || {
            // Nobody listens any more when this thread was given up.
            let _ = done.send(load_now(&script, &stop).map_err(|error| Failure::from_lua(&error)));
        })
    };
    let endless = format!("the script's top level ran for {} s without an end", LOAD_TIMEOUT.as_secs());
    let failure = match thread {
        Err(error) => Failure::new(FailureKind::Script, format!("cannot start a thread: {error}")),
        Ok(_) => match result.recv_timeout(LOAD_TIMEOUT) {
            Ok(Ok(scenarios)) => return Ok(scenarios),
            Ok(Err(failure)) => failure,
            Err(_) => {
                stop.set();
                // Stopped, it can say where it was; stuck inside a single call of Lua's library it cannot.
                let stopped = result.recv_timeout(STUCK_GRACE).ok().and_then(Result::err);
                let endless = Failure::new(FailureKind::Script, endless)
                    .hint("declare scenarios at the top level; do work inside them");
                endless.at(stopped.and_then(|failure| failure.place))
            }
        },
    };
    let first_line = Place { file: script.path.display().to_string(), line: 1 };
    Err(LoadError::Script(Box::new(failure.at(Some(first_line)))))
}

fn load_now(script: &Script, stop: &StopFlag) -> mlua::Result<Vec<Scenario>> {
    let sandbox = Sandbox::new(stop, || None)?;
    let declared = declare(&sandbox, script)?;
    for (index, Declared { scenario, .. }) in declared.iter().enumerate() {
        if let Some(first) = declared[..index].iter().find(|first| first.scenario.name == scenario.name) {
            let (name, line) = (&first.scenario.name, first.scenario.place.line);
            let message = format!("a scenario named {name:?} is declared already in line {line}");
            return Err(Failure::usage(message).at(Some(scenario.place.clone())).into());
        }
    }
    let mut scenarios = Vec::with_capacity(declared.len());
    for Declared { scenario, cases, .. } in declared {
        if cases.is_empty() {
            scenarios.push(scenario);
            continue;
        }
        let case = |case| Scenario { case: Some(case), ..scenario.clone() };
        scenarios.extend(cases.into_iter().map(case));
    }
    Ok(scenarios)
}

/// Runs the script's top level in `sandbox` and returns what it declared.
pub(super) fn declare(sandbox: &Sandbox, script: &Script) -> mlua::Result<Vec<Declared>> {
    let lua = &sandbox.lua;
    bind_matchers(lua)?;
    bind_rules(lua)?;
    expect::bind(lua)?;
    let print = lua.create_function(|lua, values: mlua::Variadic<Value>| {
        match lua.app_data_ref::<Arc<super::context::Context>>() {
            Some(_) => test::log(lua, &values),
            // At the top level of a script that is only being listed there is no journal to write to.
            None => Ok(()),
        }
    })?;
    lua.globals().set("print", print)?;

    let declarations = Declarations::default();
    declarations.bind(lua)?;
    let chunk = lua
        .load(without_shebang(&script.source))
        .set_name(format!("@{}", script.path.display()))
        .set_mode(ChunkMode::Text)
        .into_function()?;
    sandbox.run.call::<()>(chunk)?;
    Ok(declarations.close())
}

/// A first line `#!…` is for the system, and stays a line so that the others keep their numbers.
fn without_shebang(source: &str) -> String {
    match source.strip_prefix("#!") {
        Some(rest) => format!("--{rest}"),
        None => source.to_owned(),
    }
}

/// How long the top level of a script may run.
pub const LOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a script that was told to stop is waited for.
const STUCK_GRACE: Duration = Duration::from_secs(1);
