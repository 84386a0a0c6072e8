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
use super::context::{Context, Scope, caller, millis};
use super::expect::ExpectSkin;
use super::failure::{Failure, FailureKind};
use super::keyboard::KeyboardSkin;
use super::lane::LaneSkin;
use super::members::refuse_unknown;
use super::mouse::MouseSkin;
use super::options::{Options, describe, seconds_to_duration};
use super::streams::{DigestSkin, ScreenSkin, SerialSkin, digests_of_this_boot, drain};
use super::values::from_json;
use crate::journal::{Body, Source};
use crate::oracle::reconcile::reconcile;

/// `t`.
pub(super) struct TestSkin;

/// How scripts' functions are called; lives in the Lua state as app data.
pub(super) struct Run(pub(super) Function);

/// `t.params` as JSON; lives in the Lua state as app data.
pub(super) struct Params(pub(super) serde_json::Value);

impl UserData for TestSkin {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("keyboard", |_, _| Ok(KeyboardSkin));
        fields.add_field_method_get("mouse", |_, _| Ok(MouseSkin));
        fields.add_field_method_get("digest", |_, _| Ok(DigestSkin));
        fields.add_field_method_get("serial", |_, _| Ok(SerialSkin));
        fields.add_field_method_get("screen", |_, _| Ok(ScreenSkin));
        fields.add_field_method_get("agent", |_, _| Ok(AgentSkin));
        fields.add_field_method_get("lane", |_, _| Ok(LaneSkin));
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
                "params",
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
                "reconcile",
            ],
        );
        methods.add_async_method("step", step);
        add_time(methods);
        add_concurrency(methods);
        add_notes(methods);
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
    let began = Instant::now();
    let mut scope = outer.clone();
    scope.steps.push(name.clone());
    if began + timeout < outer.deadline {
        scope.deadline = began + timeout;
        scope.deadline_name = format!("the step \"{name}\" ({:.1} s)", timeout.as_secs_f64());
    }
    let line = place.as_ref().map_or(0, |place| place.line);
    let timeout_s = scope.deadline.saturating_duration_since(began).as_secs_f64();
    context.journal.append(Source::Script, Body::StepBegan { path: scope.steps.clone(), timeout_s, line });

    let path = scope.steps.clone();
    let tentative = scope.tentative;
    let expired = Failure::new(FailureKind::Timeout, format!("{} reached its deadline", scope.deadline_name))
        .at(place.clone())
        .fatal();
    let result =
        within_deadline(&context, scope, expired, call(&lua, &body, (TestSkin,).into_lua_multi(&lua)?)).await;
    let body =
        Body::StepEnded { path: path.clone(), passed: result.is_ok(), took_ms: millis(began.elapsed()) };
    context.journal.append(Source::Script, body);
    let error = match result {
        Ok(values) => {
            context.screenshot_if_possible(&name).await;
            return Ok(values);
        }
        Err(error) => error,
    };
    let mut failure = Failure::from_lua(&error);
    if failure.steps.is_empty() {
        failure.steps = path;
    }
    let worth_a_picture = failure.kind != FailureKind::Skip && !tentative;
    if failure.screenshot.is_none() && worth_a_picture {
        failure.screenshot = context.screenshot_if_possible(&format!("failure-{name}")).await;
    }
    Err(context.raise(failure))
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
        let (context, expired) = (Arc::clone(context), expired.clone());
        AbortOnDrop(
            tokio::spawn(async move {
                tokio::time::sleep_until(limit.into()).await;
                context.raise(expired);
            })
            .abort_handle(),
        )
    };
    let result = tokio::select! {
        biased;
        result = scope.run(part) => result,
        () = tokio::time::sleep_until(limit.into()) => Err(context.raise(expired)),
    };
    drop(watchdog);
    result
}

/// Calls a function of the script.
pub(super) async fn call(lua: &Lua, function: &Function, arguments: MultiValue) -> mlua::Result<MultiValue> {
    let run = lua.app_data_ref::<Run>().expect("every attempt sets its runner before it runs").0.clone();
    let mut all = arguments;
    all.push_front(Value::Function(function.clone()));
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
            let limit = scope.deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(duration.min(limit)).await;
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
            let began = Instant::now();
            let own = timeout.map(|timeout| began + timeout).filter(|own| *own < scope.deadline);
            let deadline = own.unwrap_or(scope.deadline);
            scope.tentative = true;
            let mut tries = 0;
            loop {
                tries += 1;
                let last = match scope.clone().run(call(&lua, &question, MultiValue::new())).await {
                    Ok(values) => match values.front() {
                        None | Some(Value::Nil | Value::Boolean(false)) => {
                            "it returned nothing true".to_owned()
                        }
                        Some(_) => return Ok(values),
                    },
                    Err(error) => {
                        let failure = Failure::from_lua(&error);
                        if failure.fatal
                            || matches!(failure.kind, FailureKind::Usage | FailureKind::MachineEnded)
                        {
                            return Err(context.raise(failure));
                        }
                        failure.to_string()
                    }
                };
                if Instant::now() + interval >= deadline {
                    let waited = began.elapsed().as_secs_f64();
                    let message = format!(
                        "t:eventually: not so after {waited:.1} s and {tries} tries\nlast try: {last}"
                    );
                    let failure = Failure::new(FailureKind::Timeout, message).at(place);
                    return Err(context.raise(if own.is_none() { failure.fatal() } else { failure }));
                }
                tokio::time::sleep(interval).await;
            }
        }
    });
}

/// Tasks that were started and not joined.
#[derive(Default)]
pub(super) struct Tasks(Mutex<Vec<Arc<Task>>>);

#[derive(Default)]
struct Task {
    handle: Mutex<Option<JoinHandle<mlua::Result<MultiValue>>>>,
}

impl Tasks {
    /// The first failure of a task that nobody joined.
    pub(super) async fn unjoined_failure(&self) -> Option<Failure> {
        let tasks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            let handle = task.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(handle) = handle.filter(JoinHandle::is_finished)
                && let Ok(Err(error)) = handle.await
            {
                return Some(Failure::from_lua(&error));
            }
        }
        None
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
        let task = Arc::new(Task::default());
        let future = {
            let lua = lua.clone();
            async move { call(&lua, &function, arguments).await }
        };
        let handle = tokio::task::spawn_local(scope.run(future));
        *task.handle.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
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
    methods.add_method("reconcile", |lua, _, _oracles: Variadic<Value>| {
        let context = Context::of(lua);
        let verdict = reconcile(&digests_of_this_boot(&context), &drain(&context));
        from_json(lua, &serde_json::to_value(verdict).map_err(mlua::Error::external)?)
    });
}

/// `t:log(…)` and `print(…)`.
pub(super) fn log(lua: &Lua, values: &[Value]) -> mlua::Result<()> {
    let texts = values.iter().map(|value| value.to_string()).collect::<mlua::Result<Vec<_>>>()?;
    Context::of(lua).log(texts.join("\t"));
    Ok(())
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
