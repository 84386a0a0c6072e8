//! Lua values to questions and to JSON, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlua::{Lua, LuaSerdeExt as _, Table, UserData, Value};
use serde_json::Value as Json;

use super::failure::Failure;
use super::options::describe;
use crate::journal::matching::Matcher;

/// A matcher as scripts hold it: `any`, `at_least(3)`, ….
#[derive(Clone)]
struct MatcherSkin(Matcher);

impl UserData for MatcherSkin {
    fn add_methods<M: mlua::UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(mlua::MetaMethod::ToString, |_, matcher, ()| Ok(matcher.0.to_string()));
    }
}

/// Binds `any`, `absent`, `at_least`, `at_most`, `one_of` and `pattern`.
pub(super) fn bind_matchers(lua: &Lua) -> mlua::Result<()> {
    let globals = lua.globals();
    globals.set("any", MatcherSkin(Matcher::Any))?;
    globals.set("absent", MatcherSkin(Matcher::Absent))?;
    globals
        .set("at_least", lua.create_function(|_, limit: f64| Ok(MatcherSkin(Matcher::AtLeast(limit))))?)?;
    globals.set("at_most", lua.create_function(|_, limit: f64| Ok(MatcherSkin(Matcher::AtMost(limit))))?)?;
    globals.set(
        "one_of",
        lua.create_function(|lua, choices: Table| {
            let choices = choices.sequence_values().map(|choice| to_matcher(lua, &choice?));
            Ok(MatcherSkin(Matcher::OneOf(choices.collect::<mlua::Result<_>>()?)))
        })?,
    )?;
    globals.set(
        "pattern",
        lua.create_function(|_, text: String| Ok(MatcherSkin(to_pattern("pattern", &text)?)))?,
    )
}

/// Compiles a pattern of the `regex` syntax.
pub(super) fn to_pattern(call: &str, text: &str) -> Result<Matcher, Failure> {
    regex_lite::Regex::new(text).map(Matcher::Pattern).map_err(|error| {
        Failure::usage(format!("{call}: {text:?} is not a pattern: {error}"))
            .hint("patterns are regular expressions; write `\\\\.` for a literal dot")
    })
}

/// Turns what a script passes into a question. Tables are records or lists, functions are predicates.
pub(super) fn to_matcher(lua: &Lua, value: &Value) -> mlua::Result<Matcher> {
    matcher_at(lua, value, 0, &mut NODE_LIMIT.clone())
}

fn matcher_at(lua: &Lua, value: &Value, depth: usize, left: &mut usize) -> mlua::Result<Matcher> {
    count(depth, left)?;
    match value {
        Value::UserData(data) => match data.borrow::<MatcherSkin>() {
            Ok(matcher) => Ok(matcher.0.clone()),
            Err(_) => Err(Failure::usage(format!("a matcher is wanted, got {}", describe(value))).into()),
        },
        Value::Table(table) if table.raw_len() > 0 => {
            let items = table.sequence_values().map(|item| matcher_at(lua, &item?, depth + 1, left));
            Ok(Matcher::List(items.collect::<mlua::Result<_>>()?))
        }
        Value::Table(table) => {
            let mut fields = BTreeMap::new();
            for pair in table.pairs::<Value, Value>() {
                let (key, wanted) = pair?;
                let Value::String(key) = &key else {
                    let got = describe(&key);
                    return Err(Failure::usage(format!("a matcher's keys are names, got {got}")).into());
                };
                fields.insert(key.to_string_lossy(), matcher_at(lua, &wanted, depth + 1, left)?);
            }
            Ok(Matcher::Record(fields))
        }
        Value::Function(function) => {
            let (lua, function) = (lua.clone(), function.clone());
            Ok(Matcher::Predicate(Arc::new(move |json| {
                let argument = from_json(&lua, json).map_err(|error| error.to_string())?;
                match function.call::<Value>(argument) {
                    Ok(Value::Nil | Value::Boolean(false)) => Ok(false),
                    Ok(_) => Ok(true),
                    Err(error) => Err(Failure::from_lua(&error).to_string()),
                }
            })))
        }
        other => to_json(other).map(Matcher::Equals),
    }
}

/// Turns a Lua value into JSON.
///
/// # Errors
/// It holds what JSON cannot: functions, cycles, nesting beyond a limit.
pub(super) fn to_json(value: &Value) -> mlua::Result<Json> {
    json_at(value, 0, &mut NODE_LIMIT.clone())
}

fn json_at(value: &Value, depth: usize, left: &mut usize) -> mlua::Result<Json> {
    count(depth, left)?;
    Ok(match value {
        Value::Nil => Json::Null,
        Value::Boolean(value) => Json::Bool(*value),
        Value::Integer(number) => Json::from(*number),
        Value::Number(number) => Json::from(*number),
        Value::String(text) => Json::String(text.to_string_lossy()),
        Value::Table(table) if table.raw_len() > 0 => Json::Array(
            table
                .sequence_values()
                .map(|item| json_at(&item?, depth + 1, left))
                .collect::<mlua::Result<_>>()?,
        ),
        Value::Table(table) => {
            let mut fields = serde_json::Map::new();
            for pair in table.pairs::<Value, Value>() {
                let (key, field) = pair?;
                fields.insert(key.to_string()?, json_at(&field, depth + 1, left)?);
            }
            Json::Object(fields)
        }
        Value::UserData(data) => Json::String(Value::UserData(data.clone()).to_string()?),
        other => return Err(Failure::usage(format!("{} is not a plain value", describe(other))).into()),
    })
}

/// Refuses values without an end: a table that holds itself twice would be walked for ever.
fn count(depth: usize, left: &mut usize) -> Result<(), Failure> {
    if depth > DEPTH_LIMIT {
        return Err(Failure::usage(format!(
            "a value nests deeper than {DEPTH_LIMIT} tables, or holds itself"
        )));
    }
    *left = left.checked_sub(1).ok_or_else(|| {
        Failure::usage(format!("a value has more than {NODE_LIMIT} parts, or holds itself"))
    })?;
    Ok(())
}

/// Turns JSON into a Lua value; `null` becomes `nil`.
pub(super) fn from_json(lua: &Lua, json: &Json) -> mlua::Result<Value> {
    let options =
        mlua::serde::SerializeOptions::new().serialize_none_to_null(false).serialize_unit_to_null(false);
    lua.to_value_with(json, options.set_array_metatable(false))
}

const DEPTH_LIMIT: usize = 64;
const NODE_LIMIT: usize = 1_000_000;
