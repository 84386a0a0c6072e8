//! `scenario(…)`: what a file declares when its top level runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mlua::{Function, Lua, MetaMethod, UserData, UserDataFields, UserDataMethods, Value, Variadic};

use super::cases::cases_of;
use super::context::caller;
use super::failure::{Failure, Place};
use super::members::refuse_unknown;
use super::options::{Options, describe};
use super::scenario::{Case, Scenario};
use crate::lane::handle::Capability;
use crate::near::nearest;

/// What a file has declared so far. A clone is another handle to the same list.
#[derive(Clone, Default)]
pub(super) struct Declarations(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    list: Vec<Declared>,
    /// Whether the top level has run.
    is_closed: bool,
}

/// One `scenario(…)` of a file.
pub(super) struct Declared {
    /// Without a case, whatever cases there are.
    pub(super) scenario: Scenario,
    pub(super) cases: Vec<Case>,
    pub(super) body: Function,
}

impl Declarations {
    /// Binds `scenario`.
    pub(super) fn bind(&self, lua: &Lua) -> mlua::Result<()> {
        lua.globals().set("scenario", ScenarioSkin(self.clone()))
    }

    /// Takes what was declared; from now on nothing can be.
    pub(super) fn close(&self) -> Vec<Declared> {
        let mut state = self.state();
        state.is_closed = true;
        std::mem::take(&mut state.list)
    }

    fn declare(
        &self,
        lua: &Lua,
        is_only: bool,
        (name, options, body): (Value, Value, Value),
    ) -> mlua::Result<DeclarationSkin> {
        let place = caller(lua).unwrap_or(Place { file: String::new(), line: 0 });
        let mut state = self.state();
        let declared = state
            .open()
            .and_then(|list| declaration(name, options, body, &place, list.len()))
            .map_err(|failure| failure.at(Some(place)))?;
        let index = declared.scenario.index;
        state.list.push(Declared {
            scenario: Scenario { is_only: is_only || declared.scenario.is_only, ..declared.scenario },
            ..declared
        });
        Ok(DeclarationSkin { declarations: self.clone(), index })
    }

    fn add_cases(&self, index: usize, table: &Value) -> Result<(), Failure> {
        let Value::Table(table) = table else {
            return Err(Failure::usage(format!("{CASES}: wants a table of cases, got {}", describe(table))));
        };
        let cases = cases_of(CASES, table)?;
        let mut state = self.state();
        let declared = &mut state.open()?[index];
        if !declared.cases.is_empty() {
            return Err(Failure::usage(format!("{CASES}: this scenario has its cases already")));
        }
        declared.cases = cases;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open(&mut self) -> Result<&mut Vec<Declared>, Failure> {
        match self.is_closed {
            true => Err(Failure::usage("scenario: scenarios are declared at the top level of a file")),
            false => Ok(&mut self.list),
        }
    }
}

/// `scenario`: called, it declares.
struct ScenarioSkin(Declarations);

impl UserData for ScenarioSkin {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("only", |lua, scenario| {
            let declarations = scenario.0.clone();
            lua.create_function(move |lua, arguments: (Value, Value, Value)| {
                declarations.declare(lua, true, arguments)
            })
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(methods, "scenario", &["only"]);
        methods.add_meta_method(MetaMethod::Call, |lua, scenario, arguments: (Value, Value, Value)| {
            scenario.0.declare(lua, false, arguments)
        });
    }
}

/// What `scenario(…)` returns.
struct DeclarationSkin {
    declarations: Declarations,
    index: usize,
}

impl UserData for DeclarationSkin {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        // Called with a dot or with a colon: the table is the last argument either way.
        fields.add_field_method_get("cases", |lua, declaration| {
            let (declarations, index) = (declaration.declarations.clone(), declaration.index);
            lua.create_function(move |lua, mut arguments: Variadic<Value>| {
                let table = arguments.pop().unwrap_or(Value::Nil);
                declarations.add_cases(index, &table).map_err(|failure| failure.at(caller(lua)))?;
                Ok(())
            })
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(methods, "scenario(…)", &["cases"]);
    }
}

fn declaration(
    name: Value,
    options: Value,
    body: Value,
    place: &Place,
    index: usize,
) -> Result<Declared, Failure> {
    let Value::String(name) = &name else {
        return Err(Failure::usage(format!("scenario: the name is a string, got {}", describe(&name))));
    };
    let (options, body) = match (options, body) {
        (Value::Function(body), Value::Nil) => (None, body),
        (Value::Table(options), Value::Function(body)) => (Some(options), body),
        (Value::Table(_), other) | (other, Value::Nil) => {
            return Err(Failure::usage(format!(
                "scenario: wants (name, [options], function), got {}",
                describe(&other)
            )));
        }
        (other, _) => {
            return Err(Failure::usage(format!("scenario: options are a table, got {}", describe(&other))));
        }
    };
    if name.to_string_lossy().trim().is_empty() {
        return Err(
            Failure::usage("scenario: the name is empty").hint("a name says what the scenario promises")
        );
    }
    let options = Options::new(
        "scenario",
        options,
        &["needs", "tags", "timeout", "warm", "lane", "lanes", "only", "params"],
    )?;
    let needs = options.strings("needs")?.unwrap_or_default();
    let needs = needs.iter().map(|need| capability(need)).collect::<Result<_, _>>()?;
    let (lane, lanes) = lanes_of(&options)?;
    let scenario = Scenario {
        name: name.to_string_lossy(),
        place: place.clone(),
        index,
        needs,
        tags: options.strings("tags")?.unwrap_or_default(),
        timeout: options.seconds("timeout")?.unwrap_or(SCENARIO_TIMEOUT),
        warm: options.boolean("warm")?.unwrap_or(true),
        lane,
        lanes,
        case: None,
        is_only: options.boolean("only")?.unwrap_or(false),
    };
    let cases = match options.table("params", "a table of cases")? {
        Some(table) => cases_of("scenario: option `params`", &table)?,
        None => Vec::new(),
    };
    Ok(Declared { scenario, cases, body })
}

/// The lane that a scenario insists on, or those that it has names for.
fn lanes_of(options: &Options) -> Result<(Option<String>, BTreeMap<String, String>), Failure> {
    let lane = options.string("lane")?;
    if lane.as_deref().is_some_and(|lane| lane.trim().is_empty()) {
        return Err(Failure::usage("scenario: option `lane` is empty").hint("it is the name of a profile"));
    }
    let Some(table) = options.table("lanes", LANES)? else { return Ok((lane, BTreeMap::new())) };
    if lane.is_some() {
        return Err(Failure::usage("scenario: `lane` and `lanes` exclude each other")
            .hint("one lane is `lane = \"NAME\"`, several are `lanes = { a = \"NAME\", b = \"NAME\" }`"));
    }
    let mut lanes = BTreeMap::new();
    for pair in table.pairs::<Value, Value>() {
        let (role, lane) = pair.map_err(|error| Failure::from_lua(&error))?;
        let Value::String(role) = &role else {
            let got = describe(&role);
            return Err(Failure::usage(format!(
                "scenario: option `lanes` wants {LANES}, got {got} as a key"
            ))
            .hint("the keys are what the scenario calls its lanes: `t.lanes.a`"));
        };
        let role = role.to_string_lossy();
        if !is_identifier(&role) {
            return Err(Failure::usage(format!("scenario: option `lanes`: {role:?} is not a name"))
                .hint(format!("names are letters, digits and `_`, at most {ROLE_CHARS}, no digit first")));
        }
        let lane = match &lane {
            Value::String(lane) if !lane.to_string_lossy().trim().is_empty() => lane.to_string_lossy(),
            other => {
                let got = describe(other);
                return Err(Failure::usage(format!(
                    "scenario: option `lanes`: `{role}` is the name of a profile, got {got}"
                )));
            }
        };
        lanes.insert(role, lane);
    }
    if !(1..=MOST_LANES).contains(&lanes.len()) {
        let count = lanes.len();
        return Err(Failure::usage(format!("scenario: {count} lanes, wanted 1 to {MOST_LANES}")));
    }
    Ok((None, lanes))
}

fn is_identifier(name: &str) -> bool {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    name.len() <= ROLE_CHARS
        && name.chars().all(is_word)
        && !name.starts_with(|char: char| char.is_ascii_digit())
        && !name.is_empty()
}

fn capability(name: &str) -> Result<Capability, Failure> {
    Capability::by_name(name).ok_or_else(|| {
        let known = Capability::ALL.map(Capability::name);
        match nearest(name, known) {
            Some(near) => Failure::usage(format!("scenario: unknown need `{name}`, did you mean `{near}`?")),
            None => Failure::usage(format!("scenario: unknown need `{name}`"))
                .hint(format!("known needs: {}", known.join(", "))),
        }
    })
}

const SCENARIO_TIMEOUT: Duration = Duration::from_secs(120);
const MOST_LANES: usize = 16;
const ROLE_CHARS: usize = 32;
const LANES: &str = "a table such as `{ a = \"NAME\", b = \"NAME\" }`";
const CASES: &str = "scenario(…).cases";
