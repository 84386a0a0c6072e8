//! A fresh Lua state that a stranger's script may run in: no files, no processes, no bytecode, capped memory, and
//! stoppable at any instruction.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};

use super::context::caller;
use super::failure::{Caught, Failure, FailureKind, readable_traceback};
use super::values::to_json;
use crate::journal::matching::show;
use crate::near::nearest;

/// Bytes a script may hold.
pub const MEMORY_LIMIT: usize = 64 << 20;

/// Stops a script from outside: once set, nothing of the script goes on.
#[derive(Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Stops the script at its next instruction.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Lets a script go on that was only interrupted.
    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Whether it was stopped.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A state with the prelude loaded.
pub struct Sandbox {
    /// The state.
    pub lua: Lua,
    /// Calls a function of the script: `run(f, …)`.
    pub run: Function,
    /// `hold.lua`, where failed calls may be held.
    pub(super) hold: Option<Table>,
}

impl Sandbox {
    /// Makes a fresh state. `fatal` says what to raise while a fatal failure is pending.
    ///
    /// # Errors
    /// Lua refuses, which means that the prelude is broken or memory is out.
    pub fn new(
        stop: &StopFlag,
        fatal: impl Fn() -> Option<Failure> + Send + Sync + 'static,
    ) -> mlua::Result<Self> {
        Self::build(stop, fatal, false)
    }

    /// The same where somebody may look into the script; scripts have no more than otherwise.
    pub(super) fn with_prompts(
        stop: &StopFlag,
        fatal: impl Fn() -> Option<Failure> + Send + Sync + 'static,
    ) -> mlua::Result<Self> {
        Self::build(stop, fatal, true)
    }

    fn build(
        stop: &StopFlag,
        fatal: impl Fn() -> Option<Failure> + Send + Sync + 'static,
        may_hold: bool,
    ) -> mlua::Result<Self> {
        let libraries = StdLib::COROUTINE | StdLib::TABLE | StdLib::STRING | StdLib::UTF8 | StdLib::MATH;
        // The binding layer's own way to let panics pass is a `pcall` that cannot wait; the prelude's `pcall` hands
        // what it caught to `described`, where a panic goes on.
        let (lua, hold) = match may_hold {
            true => holding(libraries)?,
            false => (Lua::new_with(libraries, LuaOptions::new())?, None),
        };
        lua.set_memory_limit(MEMORY_LIMIT)?;
        let fatal = Arc::new(fatal);
        let stop_now = {
            let stop = stop.clone();
            move |lua: &Lua| match fatal() {
                Some(failure) => Err(mlua::Error::external(interrupted(lua, failure))),
                None if stop.is_set() => Err(mlua::Error::external(stopped_failure())),
                None => Ok(()),
            }
        };
        let hook = stop_now.clone();
        let every = HookTriggers::new().every_nth_instruction(HOOK_INSTRUCTIONS);
        lua.set_global_hook(every, move |lua, _| hook(lua).map(|()| VmState::Continue))?;

        let stopped = lua.create_function(move |lua, ()| stop_now(lua))?;
        let described = lua.create_function(|lua, failure: Value| describe(lua, failure))?;
        let raise = lua.create_function(|_, failure: mlua::AnyUserData| -> mlua::Result<()> {
            match failure.borrow::<Caught>() {
                Ok(caught) => Err(mlua::Error::external(caught.0.clone())),
                Err(_) => Err(mlua::Error::external(Failure::new(
                    FailureKind::Script,
                    "an object was raised as an error; raise a string or a table",
                ))),
            }
        })?;
        let uncaught = lua.create_function(uncaught)?;
        let run = prelude(&lua)?.call((stopped, described, raise, uncaught, Lua::poll_pending()))?;
        Ok(Self { lua, run, hold })
    }
}

/// A state whose `debug` library `hold.lua` has, and nobody else.
fn holding(libraries: StdLib) -> mlua::Result<(Lua, Option<Table>)> {
    #[expect(
        unsafe_code,
        reason = "the debug library can break what the binding layer relies on; hold.lua reads stacks and variables \
                  with it, and no script can reach it"
    )]
    let lua = unsafe { Lua::unsafe_new_with(libraries | StdLib::DEBUG, LuaOptions::new()) };
    let source = include_str!("hold.lua");
    let module = lua.load(source).set_name("=[hold]").set_mode(ChunkMode::Text).call::<Table>(())?;
    lua.globals().raw_remove("debug")?;
    Ok((lua, Some(module)))
}

/// The prelude, compiled once for all states.
fn prelude(lua: &Lua) -> mlua::Result<Function> {
    static COMPILED: OnceLock<Vec<u8>> = OnceLock::new();
    let name = "=[prelude]";
    if let Some(bytes) = COMPILED.get() {
        return lua.load(&bytes[..]).set_name(name).set_mode(ChunkMode::Binary).into_function();
    }
    let source = include_str!("prelude.lua");
    let prelude = lua.load(source).set_name(name).set_mode(ChunkMode::Text).into_function()?;
    let _ = COMPILED.set(prelude.dump(false));
    Ok(prelude)
}

fn stopped_failure() -> Failure {
    Failure::new(FailureKind::Cancelled, "the script was stopped").fatal()
}

/// A deadline that found the script computing: only the stack tells where.
fn interrupted(lua: &Lua, mut failure: Failure) -> Failure {
    if failure.kind == FailureKind::Timeout && failure.traceback.is_none() {
        let traceback = lua.traceback(None, 0).ok();
        failure.traceback = traceback.and_then(|traceback| readable_traceback(&traceback.to_string_lossy()));
    }
    failure
}

/// What a script sees of an error it caught.
fn describe(lua: &Lua, failure: Value) -> mlua::Result<Value> {
    match failure {
        Value::Error(error) => {
            let failure = Failure::from_lua(&error);
            lua.create_userdata(Caught(failure)).map(Value::UserData)
        }
        other => Ok(other),
    }
}

/// The message handler of the outermost call: adds the traceback while the stack still stands.
fn uncaught(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let mut failure = match &value {
        Value::Error(error) => Failure::from_lua(error),
        Value::UserData(data) => match data.borrow::<Caught>() {
            Ok(caught) => caught.0.clone(),
            Err(_) => Failure::new(FailureKind::Script, "an object was raised as an error"),
        },
        Value::String(text) => {
            let failure = Failure::from_lua(&mlua::Error::RuntimeError(text.to_string_lossy()));
            match missing_global(lua, &failure.message) {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        Value::Table(table) => match table.raw_get::<Value>("message")? {
            Value::Nil => {
                let shown = to_json(&value).map_or_else(|_| "a table".to_owned(), |json| show(&json));
                Failure::new(FailureKind::Script, format!("error value: {shown}"))
            }
            message => Failure::from_lua(&mlua::Error::RuntimeError(message.to_string()?)),
        },
        other => Failure::new(FailureKind::Script, format!("error value: {}", other.to_string()?)),
    };
    if matches!(failure.kind, FailureKind::Script | FailureKind::Usage | FailureKind::Cancelled) {
        failure = failure.at(caller(lua));
    }
    if failure.traceback.is_none() && matches!(failure.kind, FailureKind::Script | FailureKind::Usage) {
        let traceback = lua.traceback(None, 1)?.to_string_lossy();
        failure.traceback = readable_traceback(&traceback);
    }
    Ok(Value::Error(Box::new(mlua::Error::external(failure))))
}

/// What was probably meant by a global that is not there.
fn missing_global(lua: &Lua, message: &str) -> Option<String> {
    let (_, rest) = message.split_once("a nil value (global '")?;
    let (name, _) = rest.split_once('\'')?;
    if ["keyboard", "mouse", "digest", "serial", "screen", "agent", "lane", "lanes", "params"].contains(&name)
    {
        return Some(format!("did you mean `t.{name}`?"));
    }
    if ["io", "os", "debug", "package", "require", "dofile", "loadfile", "load"].contains(&name) {
        return Some(format!("scenarios have no `{name}`: no files, no processes, no other code"));
    }
    let known: Vec<String> =
        lua.globals().pairs::<String, Value>().filter_map(|pair| Some(pair.ok()?.0)).collect();
    nearest(name, known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"))
}

const HOOK_INSTRUCTIONS: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sandbox(stop: &StopFlag) -> Sandbox {
        Sandbox::new(stop, || None).unwrap()
    }

    fn eval(code: &str) -> mlua::Result<String> {
        let sandbox = sandbox(&StopFlag::default());
        sandbox.lua.load(code).eval::<String>()
    }

    #[test]
    fn what_a_stranger_must_not_have_is_not_there() {
        for name in
            ["io", "os", "debug", "package", "dofile", "loadfile", "load", "collectgarbage", "require"]
        {
            assert_eq!(eval(&format!("return type({name})")).unwrap(), "nil", "{name}");
            let looked_into = Sandbox::with_prompts(&StopFlag::default(), || None).unwrap();
            let kind: String = looked_into.lua.load(format!("return type({name})")).eval().unwrap();
            assert_eq!(kind, "nil", "{name}, where somebody may look into the script");
        }
        assert_eq!(eval("return type(string.dump)").unwrap(), "nil");
        assert!(eval("setmetatable({}, { __gc = function() end })").is_err());
    }

    #[test]
    fn memory_is_capped() {
        let error = eval("local s = 'x' while true do s = s .. s end").unwrap_err();
        assert!(Failure::from_lua(&error).message.contains("64 MiB"), "{error}");
    }

    #[test]
    fn every_kind_of_endless_loop_stops() {
        let loops = [
            "while true do end",
            "while true do pcall(error, 'x') end",
            "while true do pcall(function() while true do end end) end",
            "while true do xpcall(function() while true do end end, function() while true do end end) end",
            "local function f() return f() end f()",
            "while true do coroutine.wrap(function() while true do end end)() end",
            "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
            "repeat local ok = pcall(coroutine.wrap(function() error('x') end)) until false",
            "while true do pcall(string.rep, 'x', -1) end",
        ];
        for code in loops {
            let stop = StopFlag::default();
            let sandbox = sandbox(&stop);
            let stopper = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                stop.set();
            });
            let error = sandbox.lua.load(code).exec().unwrap_err();
            assert_eq!(Failure::from_lua(&error).kind, FailureKind::Cancelled, "{code}: {error}");
            stopper.join().unwrap();
        }
    }

    #[test]
    fn bytecode_is_refused() {
        let lua = Lua::new();
        let bytes = lua.load("return 1").into_function().unwrap().dump(true);
        let sandbox = sandbox(&StopFlag::default());
        assert!(sandbox.lua.load(&bytes[..]).set_mode(ChunkMode::Text).exec().is_err());
    }

    #[test]
    #[should_panic(expected = "our bug")]
    fn a_panic_of_ours_passes_through_pcall() {
        let sandbox = sandbox(&StopFlag::default());
        let buggy = sandbox.lua.create_function(|_, ()| -> mlua::Result<()> { panic!("our bug") }).unwrap();
        sandbox.lua.globals().set("buggy", buggy).unwrap();
        let _ = sandbox.lua.load("pcall(buggy)").exec();
    }

    #[test]
    fn a_table_that_was_raised_arrives_as_it_was() {
        let text = eval("local ok, e = pcall(error, { code = 7 }) return tostring(ok) .. e.code").unwrap();
        assert_eq!(text, "false7");
    }

    #[test]
    fn strings_that_were_raised_carry_the_line_of_the_caller() {
        let text = eval("local ok, e = pcall(function() error('boom') end)\nreturn e").unwrap();
        assert!(text.ends_with(":1: boom"), "{text}");
    }
}
