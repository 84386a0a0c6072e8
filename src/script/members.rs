//! What happens when a script asks an object for something it has not.

use mlua::{MetaMethod, UserDataMethods, Value};

use super::context::caller;
use super::failure::Failure;
use super::options::describe;
use crate::near::nearest;

/// Makes a misspelled member an error with its near miss, where Lua would hand out `nil`; and an assignment to the
/// object an error, too. `known` are the members as they were bound.
pub(super) fn refuse_unknown<T, M: UserDataMethods<T>>(
    methods: &mut M,
    object: &'static str,
    known: &'static [&'static str],
) {
    methods.add_meta_method(MetaMethod::Index, move |lua, _, key: Value| -> mlua::Result<Value> {
        Err(unknown(object, known, &key).at(caller(lua)).into())
    });
    methods.add_meta_method(
        MetaMethod::NewIndex,
        move |lua, _, (key, _): (Value, Value)| -> mlua::Result<()> {
            let message = format!("{object}: {} cannot be set", member(&key));
            Err(Failure::usage(message).at(caller(lua)).hint("keep it in a local variable").into())
        },
    );
}

fn unknown(object: &str, known: &[&str], key: &Value) -> Failure {
    let message = format!("{object}: there is no {}", member(key));
    let near = match key {
        Value::String(name) => nearest(&name.to_string_lossy(), known.iter().copied()),
        _ => None,
    };
    match near {
        Some(near) => Failure::usage(format!("{message}, did you mean `{near}`?")),
        None => Failure::usage(message).hint(format!("{object} has {}", known.join(", "))),
    }
}

fn member(key: &Value) -> String {
    match key {
        Value::String(name) => format!("`{}`", name.to_string_lossy()),
        other => describe(other),
    }
}
