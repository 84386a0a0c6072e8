//! `t`: steps, time, concurrency, and the way to everything else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future;
use mlua::{
    Function, IntoLuaMulti as _, Lua, LuaString, MultiValue, Table, UserData, UserDataFields,
    UserDataMethods, Value, Variadic,
};
use tokio::task::{AbortHandle, JoinHandle};

use super::agent::AgentSkin;
use super::clock::Clock;
use super::context::{Context, Limit, Scope, caller, millis};
use super::expect::ExpectSkin;
use super::failure::{Failure, FailureKind};
use super::hold::{self, rooted};
use super::keyboard::KeyboardSkin;
use super::lane::LaneSkin;
use super::machine::Machine;
use super::members::refuse_unknown;
use super::mouse::MouseSkin;
use super::options::{Options, describe, seconds_to_duration};
use super::streams::{DigestSkin, ScreenSkin, SerialSkin, digests_of_this_boot, drain};
use super::values::from_json;
use super::{always, defer};
use crate::journal::{Body, Source};
use crate::near::nearest;
use crate::oracle::reconcile::reconcile;

/// `t`.
pub(super) struct TestSkin;

/// How scripts' functions are called; lives in the Lua state as app data.
pub(super) struct Run(pub(super) Function);

/// Which try this is, from 1; lives in the Lua state as app data.
pub(super) struct Number(pub(super) u32);

/// `t.params` as JSON; lives in the Lua state as app data.
pub(super) struct Params(pub(super) serde_json::Value);

impl UserData for TestSkin {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("keyboard", |lua, _| Ok(KeyboardSkin(only(lua, "keyboard")?)));
        fields.add_field_method_get("mouse", |lua, _| Ok(MouseSkin(only(lua, "mouse")?)));
        fields.add_field_method_get("digest", |lua, _| Ok(DigestSkin(only(lua, "digest")?)));
        fields.add_field_method_get("serial", |lua, _| Ok(SerialSkin(only(lua, "serial")?)));
        fields.add_field_method_get("screen", |lua, _| Ok(ScreenSkin(only(lua, "screen")?)));
        fields.add_field_method_get("agent", |lua, _| Ok(AgentSkin(only(lua, "agent")?)));
        fields.add_field_method_get("lane", |lua, _| Ok(LaneSkin(only(lua, "lane")?)));
        fields.add_field_method_get("lanes", |lua, _| lanes(lua));
        fields.add_field_method_get("attempt", |lua, _| {
            let number = lua.app_data_ref::<Number>().expect("every attempt sets its number before it runs");
            Ok(number.0)
        });
        fields.add_field_method_get("params", |lua, _| {
            let params =
                lua.app_data_ref::<Params>().expect("every attempt sets its parameters before it runs");
            from_json(lua, &params.0)
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(
            methods,
            "t",
            &[
                "keyboard",
                "mouse",
                "digest",
                "serial",
                "screen",
                "agent",
                "lane",
                "lanes",
                "params",
                "attempt",
                "step",
                "sleep",
                "eventually",
                "spawn",
                "all",
                "race",
                "skip",
                "log",
                "attach",
                "check",
                "warn",
                "reconcile",
                "always",
                "defer",
                "hold",
            ],
        );
        methods.add_async_method("step", step);
        // Where somebody wants to be asked, the guard around it opens a prompt.
        methods.add_method("hold", |_, _, ()| Ok(()));
        add_time(methods);
        add_concurrency(methods);
        add_notes(methods);
        always::add(methods);
        defer::add(methods);
    }
}

/// The machine of a scenario that has one.
fn only(lua: &Lua, member: &str) -> mlua::Result<Arc<Machine>> {
    let context = Context::of(lua);
    match context.machines() {
        [machine] if machine.role.is_none() => Ok(Arc::clone(machine)),
        machines => {
            let roles: Vec<&str> = machines.iter().filter_map(|machine| machine.role.as_deref()).collect();
            let count = roles.len();
            let lanes = if count == 1 { "lane" } else { "lanes" };
            let first = roles.first().copied().unwrap_or_default();
            let instead = match member {
                "lane" => format!("t.lanes.{first}"),
                member => format!("t.lanes.{first}.{member}"),
            };
            let message =
                format!("t: `{member}` of which lane? This scenario has {count} {lanes} with names");
            let failure = Failure::usage(message)
                .hint(format!("name the lane, as in `{instead}`; the lanes are {}", roles.join(", ")));
            Err(context.raise(failure.at(caller(lua))))
        }
    }
}

/// `t.lanes`: a table, so that `pairs` goes through it.
fn lanes(lua: &Lua) -> mlua::Result<Table> {
    let context = Context::of(lua);
    let lanes = lua.create_table()?;
    for machine in context.machines() {
        if let Some(role) = &machine.role {
            lanes.set(role.as_str(), LaneSkin(Arc::clone(machine)))?;
        }
    }
    let meta = lua.create_table()?;
    meta.set(
        "__index",
        lua.create_function(|lua, (_, role): (Value, Value)| -> mlua::Result<Value> {
            let context = Context::of(lua);
            Err(context.raise(no_such_lane(&context, &role).at(caller(lua))))
        })?,
    )?;
    meta.set(
        "__newindex",
        lua.create_function(|lua, _: Variadic<Value>| -> mlua::Result<()> {
            Err(Failure::usage("t.lanes: lanes are those of the scenario's options").at(caller(lua)).into())
        })?,
    )?;
    meta.set("__metatable", false)?;
    lanes.set_metatable(Some(meta))?;
    Ok(lanes)
}

fn no_such_lane(context: &Context, role: &Value) -> Failure {
    let name = match role {
        Value::String(name) => name.to_string_lossy(),
        other => other.type_name().to_owned(),
    };
    let roles = || context.machines().iter().filter_map(|machine| machine.role.as_deref());
    if roles().next().is_none() {
        return Failure::usage(format!("t.lanes: there is no `{name}`, this scenario has one lane"))
            .hint("that is `t.lane`; several are declared with `lanes = { a = \"NAME\", b = \"NAME\" }`");
    }
    match nearest(&name, roles()) {
        Some(near) => Failure::usage(format!("t.lanes: there is no `{name}`, did you mean `{near}`?")),
        None => Failure::usage(format!("t.lanes: there is no `{name}`"))
            .hint(format!("the lanes are {}", roles().collect::<Vec<_>>().join(", "))),
    }
}

async fn step(
    lua: Lua,
    _: mlua::UserDataRef<TestSkin>,
    (name, options, body): (String, Value, Option<Function>),
) -> mlua::Result<MultiValue> {
    let place = caller(&lua);
    let context = Context::of(&lua);
    let usage = |failure: Failure| context.raise(failure.at(place.clone()));
    let (options, body) = match (options, body) {
        (Value::Function(body), None) => (None, body),
        (Value::Table(options), Some(body)) => (Some(options), body),
        (other, _) => {
            let got = describe(&other);
            return Err(usage(Failure::usage(format!(
                "t:step: wants (name, [options], function), got {got}"
            ))));
        }
    };
    let options = Options::new("t:step", options, &["timeout"]).map_err(usage)?;
    let timeout = options.seconds("timeout").map_err(usage)?.unwrap_or(STEP_TIMEOUT);

    let outer = context.current_scope();
    let began = outer.clock.now();
    let mut scope = outer.clone();
    scope.steps.push(name.clone());
    if began + timeout < outer.deadline {
        scope.deadline = began + timeout;
        scope.deadline_name = format!("the step \"{name}\" ({:.1} s)", timeout.as_secs_f64());
    }
    let line = place.as_ref().map_or(0, |place| place.line);
    let timeout_s = scope.deadline.saturating_duration_since(began).as_secs_f64();

    let path = scope.steps.clone();
    let tentative = scope.tentative;
    let expired = Failure::new(FailureKind::Timeout, format!("{} reached its deadline", scope.deadline_name))
        .at(place.clone())
        .fatal();
    let held = hold::Step::begin(&context, &outer, &name).await;
    let result = loop {
        let began_now = Body::StepBegan { path: path.clone(), timeout_s, line };
        context.journal.append(Source::Script, began_now);
        let clock = &scope.clock;
        let mut note = StepNote { context: &context, path: &path, clock, began, passed: false };
        let arguments = (TestSkin,).into_lua_multi(&lua)?;
        let part = within_deadline(&context, scope.clone(), expired.clone(), call(&lua, &body, arguments));
        let result = match &held {
            None => Some(part.await),
            Some(held) => tokio::select! {
                biased;
                result = part => Some(result),
                () = held.again() => None,
            },
        };
        note.passed = matches!(result, Some(Ok(_)));
        if let Some(result) = result {
            break result;
        }
    };
    drop(held);
    let error = match result {
        Ok(values) => {
            context.screenshot_if_possible(&name).await;
            return Ok(values);
        }
        Err(error) => error,
    };
    let mut failure = Failure::from_lua(&error);
    if failure.steps.is_empty() {
        failure.steps.clone_from(&path);
    }
    let worth_a_picture = failure.kind != FailureKind::Skip && !tentative;
    if failure.screenshot.is_none() && worth_a_picture {
        failure.screenshot = context.screenshot_if_possible(&format!("failure-{name}")).await;
    }
    Err(context.raise(failure))
}

/// Writes `step_ended` however the step ends, also when it is dropped.
struct StepNote<'a> {
    context: &'a Context,
    path: &'a [String],
    clock: &'a Clock,
    began: Instant,
    passed: bool,
}

impl Drop for StepNote<'_> {
    fn drop(&mut self) {
        let Self { context, path, clock, began, passed } = self;
        let took_ms = millis(clock.since(*began));
        let body = Body::StepEnded { path: path.to_vec(), passed: *passed, took_ms };
        context.journal.append(Source::Script, body);
    }
}

/// Runs a part of the script in `scope`. When the scope's deadline passes, the part is dropped if it waits and
/// stopped if it computes; no `pcall` of the script can swallow that.
///
/// A wait inside knows better what it waited for, so it gets a moment to say so first.
pub(super) async fn within_deadline<T>(
    context: &Arc<Context>,
    scope: Scope,
    expired: Failure,
    part: impl Future<Output = mlua::Result<T>>,
) -> mlua::Result<T> {
    let limit = scope.deadline + DEADLINE_GRACE;
    let mut expired = expired;
    expired.steps.clone_from(&scope.steps);
    // A computing script occupies this thread: only another one can notice the deadline.
    let watchdog = {
        let (context, expired, clock) = (Arc::clone(context), expired.clone(), scope.clock.clone());
        AbortOnDrop(
            tokio::spawn(async move {
                clock.sleep_until(limit).await;
                context.condemn(&expired);
            })
            .abort_handle(),
        )
    };
    let clock = scope.clock.clone();
    let result = tokio::select! {
        biased;
        result = scope.run(part) => result,
        () = clock.sleep_until(limit) => {
            context.condemn(&expired);
            Err(context.raise(expired))
        }
    };
    drop(watchdog);
    result
}

/// Calls a function of the script.
pub(super) async fn call(lua: &Lua, function: &Function, arguments: MultiValue) -> mlua::Result<MultiValue> {
    let run = lua.app_data_ref::<Run>().expect("every attempt sets its runner before it runs").0.clone();
    let mut all = arguments;
    all.push_front(Value::Function(rooted(lua, function)?));
    run.call_async(all).await
}

fn add_time<M: UserDataMethods<TestSkin>>(methods: &mut M) {
    methods.add_async_method("sleep", |lua, _, seconds: f64| {
        let place = caller(&lua);
        let context = Context::of(&lua);
        async move {
            let Some(duration) = seconds_to_duration(seconds) else {
                let failure = Failure::usage(format!("t:sleep: wants seconds from 0 to 1e9, got {seconds}"));
                return Err(context.raise(failure.at(place)));
            };
            let scope = context.current_scope();
            let limit = scope.left();
            scope.clock.sleep(duration.min(limit)).await;
            if duration <= limit {
                return Ok(());
            }
            let message = format!(
                "t:sleep: {seconds} s do not fit into the {:.1} s left of {}",
                limit.as_secs_f64(),
                scope.deadline_name
            );
            Err(context.raise(Failure::new(FailureKind::Timeout, message).at(place).fatal()))
        }
    });
    methods.add_async_method("eventually", |lua, _, (question, options): (Function, Option<Table>)| {
        let place = caller(&lua);
        let context = Context::of(&lua);
        let prepared = (|| {
            let options = Options::new("t:eventually", options, &["timeout", "interval"])?;
            Ok((options.seconds("timeout")?, options.seconds("interval")?.unwrap_or(INTERVAL)))
        })()
        .map_err(|failure: Failure| context.raise(failure.at(place.clone())));
        async move {
            let (timeout, interval) = prepared?;
            let mut scope = context.current_scope();
            let began = scope.clock.now();
            let limit = Limit::new(&scope, timeout);
            let wanted = "something true from the function";
            let mut note = context.wait_begins(None, "t:eventually", wanted, &limit, place.as_ref());
            scope.tentative = true;
            let mut tries = 0;
            loop {
                tries += 1;
                let last = match scope.clone().run(call(&lua, &question, MultiValue::new())).await {
                    Ok(values) => match values.front() {
                        None | Some(Value::Nil | Value::Boolean(false)) => {
                            "it returned nothing true".to_owned()
                        }
                        Some(_) => {
                            note.end("matched", None);
                            return Ok(values);
                        }
                    },
                    Err(error) => {
                        let failure = Failure::from_lua(&error);
                        if failure.fatal
                            || matches!(failure.kind, FailureKind::Usage | FailureKind::MachineEnded)
                        {
                            if failure.kind == FailureKind::MachineEnded {
                                note.end("machine_ended", None);
                            }
                            return Err(context.raise(failure));
                        }
                        failure.to_string()
                    }
                };
                if scope.clock.now() + interval >= limit.deadline {
                    note.end("timeout", None);
                    let waited = scope.clock.since(began).as_secs_f64();
                    let message = format!(
                        "t:eventually: not so after {waited:.1} s and {tries} tries\nlast try: {last}"
                    );
                    let failure = Failure::new(FailureKind::Timeout, message).at(place);
                    return Err(context.raise(if limit.is_inherited { failure.fatal() } else { failure }));
                }
                scope.clock.sleep(interval).await;
            }
        }
    });
}

/// Tasks that were started.
#[derive(Default)]
pub(super) struct Tasks(Mutex<Vec<Arc<Task>>>);

struct Task {
    /// Until it is joined.
    handle: Mutex<Option<JoinHandle<mlua::Result<MultiValue>>>>,
    abort: AbortHandle,
}

impl Tasks {
    /// Ends all tasks, and returns the first failure of one that nobody joined.
    pub(super) async fn end(&self) -> Option<Failure> {
        let tasks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut failure = None;
        for task in tasks {
            // What still waits at the end of the script's body is dropped.
            task.abort.abort();
            let handle = task.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(handle) = handle.filter(JoinHandle::is_finished)
                && let Ok(Err(error)) = handle.await
            {
                failure.get_or_insert_with(|| Failure::from_lua(&error));
            }
        }
        failure
    }
}

struct TaskSkin(Arc<Task>);

impl UserData for TaskSkin {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(methods, "task", &["join"]);
        methods.add_async_method("join", |lua, task, ()| {
            let place = caller(&lua);
            let context = Context::of(&lua);
            let handle = task.0.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move {
                let Some(handle) = handle else {
                    return Err(
                        context.raise(Failure::usage("task:join: this task was joined before").at(place))
                    );
                };
                match handle.await {
                    Ok(result) => result,
                    Err(_) => {
                        Err(context.raise(Failure::new(FailureKind::Cancelled, "the task was cancelled")))
                    }
                }
            }
        });
    }
}

fn add_concurrency<M: UserDataMethods<TestSkin>>(methods: &mut M) {
    methods.add_method("spawn", |lua, _, (function, arguments): (Function, MultiValue)| {
        let scope = Context::of(lua).current_scope();
        let future = {
            let lua = lua.clone();
            async move { call(&lua, &function, arguments).await }
        };
        let handle = tokio::task::spawn_local(scope.run(future));
        let abort = handle.abort_handle();
        let task = Arc::new(Task { handle: Mutex::new(Some(handle)), abort });
        let tasks = lua.app_data_ref::<Tasks>().expect("every attempt sets its tasks before it runs");
        tasks.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&task));
        Ok(TaskSkin(task))
    });
    methods.add_async_method("all", |lua, _, functions: Vec<Function>| async move {
        let calls = functions.iter().map(|function| Box::pin(call(&lua, function, MultiValue::new())));
        let results = future::try_join_all(calls).await?;
        lua.create_sequence_from(
            results.into_iter().map(|mut values| values.pop_front().unwrap_or(Value::Nil)),
        )
    });
    methods.add_async_method("race", |lua, _, functions: Vec<Function>| {
        let place = caller(&lua);
        let context = Context::of(&lua);
        async move {
            if functions.is_empty() {
                let failure = Failure::usage("t:race: wants a list of at least one function");
                return Err(context.raise(failure.at(place)));
            }
            let calls = functions.iter().map(|function| Box::pin(call(&lua, function, MultiValue::new())));
            // The losers are dropped with this future, in the middle of whatever they wait for.
            let (result, index, _losers) = future::select_all(calls).await;
            let mut values = result?;
            values.push_front(Value::Integer(i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1)));
            Ok(values)
        }
    });
}

fn add_notes<M: UserDataMethods<TestSkin>>(methods: &mut M) {
    methods.add_method("skip", |lua, _, reason: String| -> mlua::Result<()> {
        Err(Context::of(lua).raise(Failure::new(FailureKind::Skip, reason).at(caller(lua))))
    });
    methods.add_method("log", |lua, _, values: Variadic<Value>| log(lua, &values));
    methods.add_method("attach", |lua, _, (name, bytes): (String, LuaString)| {
        let context = Context::of(lua);
        let path = context.attach(&name, &bytes.as_bytes()).map_err(|error| {
            context
                .raise(Failure::usage(format!("t:attach: {name:?} cannot be saved: {error}")).at(caller(lua)))
        })?;
        Ok(path.display().to_string())
    });
    methods.add_method("check", |_, _, value: Value| Ok(ExpectSkin::new(value, true)));
    methods.add_method("warn", |lua, _, values: Variadic<Value>| {
        let place = caller(lua);
        Context::of(lua).warn(joined(&values)?, place.as_ref());
        Ok(())
    });
    methods.add_method("reconcile", |lua, _, oracles: Variadic<Value>| {
        let context = Context::of(lua);
        let machine = reconciled(&oracles).map_err(|failure| context.raise(failure.at(caller(lua))))?;
        let verdict = reconcile(&digests_of_this_boot(&machine), &drain(&machine));
        from_json(lua, &serde_json::to_value(verdict).map_err(mlua::Error::external)?)
    });
}

/// The machine whose digest and serial port are to be compared.
fn reconciled(oracles: &[Value]) -> Result<Arc<Machine>, Failure> {
    let wrong = |got: &str| {
        Failure::usage(format!("t:reconcile: wants a digest and a serial port, got {got}"))
            .hint("such as `t:reconcile(t.digest, t.serial)`")
    };
    let (mut digest, mut serial) = (None, None);
    for oracle in oracles {
        let slot = match oracle {
            Value::UserData(data) => {
                if let Ok(skin) = data.borrow::<DigestSkin>() {
                    digest.replace(Arc::clone(&skin.0))
                } else if let Ok(skin) = data.borrow::<SerialSkin>() {
                    serial.replace(Arc::clone(&skin.0))
                } else {
                    return Err(wrong(&describe(oracle)));
                }
            }
            other => return Err(wrong(&describe(other))),
        };
        if slot.is_some() {
            return Err(wrong("one of them twice"));
        }
    }
    match (digest, serial) {
        (Some(digest), Some(serial)) if Arc::ptr_eq(&digest, &serial) => Ok(digest),
        (Some(digest), Some(serial)) => {
            let role = |machine: &Machine| machine.role.clone().unwrap_or_default();
            let (digest, serial) = (role(&digest), role(&serial));
            let message =
                format!("t:reconcile: the digest is of lane `{digest}`, the serial port of `{serial}`");
            Err(Failure::usage(message).hint("the two are about one machine"))
        }
        (Some(_), None) => Err(wrong("a digest alone")),
        (None, Some(_)) => Err(wrong("a serial port alone")),
        (None, None) => Err(wrong("nothing")),
    }
}

/// `t:log(…)` and `print(…)`.
pub(super) fn log(lua: &Lua, values: &[Value]) -> mlua::Result<()> {
    Context::of(lua).log(joined(values)?);
    Ok(())
}

fn joined(values: &[Value]) -> mlua::Result<String> {
    let texts = values.iter().map(|value| value.to_string()).collect::<mlua::Result<Vec<_>>>()?;
    Ok(texts.join("\t"))
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

const STEP_TIMEOUT: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(50);
/// For a wait that expires with its step: to take its picture and say what it saw.
const DEADLINE_GRACE: Duration = Duration::from_secs(1);
