//! One try at one scenario on one lane: a Lua state of its own, on a thread of its own, with a watchdog.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future;
use mlua::{Function, Lua, MultiValue};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use super::always::Checks;
use super::clock::Clock;
use super::context::{Context, Scope, machine_end, millis};
use super::defer::{self, Deferred};
use super::failure::{Failure, FailureKind, Place};
use super::hold::{self, Holds};
use super::machine::{Lanes, Machine};
use super::prompt::Held;
use super::sandbox::{Sandbox, StopFlag};
use super::scenario::{Scenario, Script, declare};
use super::test::{Number, Params, Run, Tasks, TestSkin, call, within_deadline};
use crate::journal::{Body, Journal, Source};
use crate::lane::handle::EndClass;

/// What an attempt needs.
pub struct AttemptOptions {
    /// The script.
    pub script: Script,
    /// Which of its scenarios.
    pub scenario: Scenario,
    /// Where everything is noted.
    pub journal: Journal,
    /// 1 for the first try.
    pub attempt: u32,
    /// The machine, or machines.
    pub lanes: Lanes,
    /// Where screenshots and attachments go.
    pub folder: PathBuf,
    /// What the command line says of `t.params`, an object; it wins over what the scenario's case says.
    pub params: serde_json::Value,
    /// Who is told when the attempt stands still at a failed call, and may ask it; otherwise it never does.
    pub prompts: Option<mpsc::Sender<Held>>,
    /// Whether it is no test but a session, whose scenario is but a place for a prompt.
    pub is_session: bool,
    /// Ends the attempt from outside.
    pub cancel: CancellationToken,
}

/// What became of an attempt.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The promise held.
    Passed,
    /// It did not; further misses are counted.
    Failed(Box<Failure>, usize),
}

/// Runs one attempt to its end, which is at the latest a few seconds after the scenario's timeout, whatever the
/// script does; what the script has put off to its end comes on top, each part with a limit of its own.
pub async fn run_attempt(options: AttemptOptions) -> Outcome {
    let stop = StopFlag::default();
    let timeout = options.scenario.timeout;
    let clock = Clock::default();
    let scope = Scope::new(&clock, timeout, format!("the scenario ({:.1} s)", timeout.as_secs_f64()));
    let AttemptOptions {
        script,
        scenario,
        journal,
        attempt: number,
        lanes,
        folder,
        params,
        prompts,
        is_session,
        cancel,
    } = options;
    let machines = Machine::all(lanes, &journal);
    let holds = prompts.map(|prompts| Arc::new(Holds::new(prompts, scenario.name.clone(), is_session)));
    let context = Arc::new(Context::new(journal, machines, folder, scope, holds));
    let place = scenario.place.clone();
    let first = Patience { until: clock.now() + timeout + STUCK_GRACE, is_ending: false };
    let (patience, watched) = watch::channel(first);
    let (done, outcome) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let thread = {
        let (stop, context, cancel) = (stop.clone(), Arc::clone(&context), cancel.clone());
        let patience = patience.clone();
        std::thread::Builder::new().name("scenario".to_owned()).spawn(move || {
            let local = LocalSet::new();
            let part = Part { script, scenario, number, params, cancel, patience };
            let result = runtime.block_on(local.run_until(attempt(part, context, &stop)));
            // Nobody listens any more when the watchdog gave up on this thread.
            let _ = done.send(result);
        })
    };
    if let Err(error) = thread {
        let failure =
            Failure::new(FailureKind::LaneLost, format!("cannot start a thread for the scenario: {error}"));
        return Outcome::Failed(Box::new(failure), 1);
    }
    let stuck = tokio::select! {
        outcome = outcome => match outcome {
            Ok(outcome) => return outcome,
            Err(_) => {
                let failure = Failure::new(FailureKind::Bug, "the scenario's thread ended without an answer")
                    .at(Some(place))
                    .hint("this is a bug in backstaff; the words of its panic are on stderr");
                return Outcome::Failed(Box::new(failure), 1);
            }
        },
        why = stuck(watched, &patience, &clock, &cancel) => why,
    };
    stop.set();
    let mut failure = Failure::new(FailureKind::Timeout, stuck)
        .at(Some(place))
        .hint("a pattern like `(.-)*` in string.find can run for ever; `pattern(…)` matches in linear time");
    failure.screenshot = context.screenshot_if_possible("failure").await;
    Outcome::Failed(Box::new(failure), 1)
}

/// Resolves when the script's thread is past all limits.
async fn stuck(
    mut watched: watch::Receiver<Patience>,
    patience: &watch::Sender<Patience>,
    clock: &Clock,
    cancel: &CancellationToken,
) -> &'static str {
    let mut was_cancelled = false;
    loop {
        let limit = watched.borrow_and_update().until;
        tokio::select! {
            // The sender lives in our caller.
            _ = watched.changed() => {}
            () = clock.sleep_until(limit) => {
                return match was_cancelled {
                    true => "the script did not stop when it was cancelled and was abandoned",
                    false => "the script is stuck inside a single call and was abandoned",
                };
            }
            () = cancel.cancelled(), if !was_cancelled => {
                was_cancelled = true;
                // A scenario that stands still has to end in the clock's time, too.
                clock.go_on();
                let soon = clock.now() + STUCK_GRACE;
                // What the script has put off to its end has limits of its own.
                patience.send_if_modified(|patience| {
                    let is_sooner = soon < patience.until && !patience.is_ending;
                    if is_sooner {
                        patience.until = soon;
                    }
                    is_sooner
                });
            }
        }
    }
}

/// Until when the script's thread is waited for.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) until: Instant,
    /// Whether the body of the scenario is over.
    pub(super) is_ending: bool,
}

/// What the script's own thread gets.
struct Part {
    script: Script,
    scenario: Scenario,
    /// Which try this is, from 1.
    number: u32,
    params: serde_json::Value,
    cancel: CancellationToken,
    patience: watch::Sender<Patience>,
}

async fn attempt(part: Part, context: Arc<Context>, stop: &StopFlag) -> Outcome {
    let scope = context.scope.clone();
    let Part { script, scenario, number, params, cancel, patience } = part;
    let sandbox = {
        let context = Arc::clone(&context);
        match context.holds.clone() {
            None => Sandbox::new(stop, move || context.fatal()),
            Some(holds) => {
                Sandbox::with_prompts(stop, move || context.fatal().or_else(|| holds.interrupted()))
            }
        }
    };
    let sandbox = match sandbox {
        Ok(sandbox) => sandbox,
        Err(error) => return Outcome::Failed(Box::new(Failure::from_lua(&error)), 1),
    };
    let lua = sandbox.lua.clone();
    lua.set_app_data(Arc::clone(&context));
    lua.set_app_data(Number(number));
    lua.set_app_data(Params(params_of(&scenario, params)));
    lua.set_app_data(Run(sandbox.run.clone()));
    lua.set_app_data(Tasks::default());
    lua.set_app_data(Checks::default());
    lua.set_app_data(Deferred::default());

    let body = async {
        let declared = declare(&sandbox, &script)?;
        let declared = declared.get(scenario.index).ok_or_else(|| {
            mlua::Error::external(Failure::new(
                FailureKind::Script,
                "the script declares other scenarios than before",
            ))
        })?;
        if let Some(module) = &sandbox.hold {
            hold::install(&lua, module, &context)?;
        }
        let test = lua.create_userdata(TestSkin).map(mlua::Value::UserData)?;
        call(&lua, &declared.body, MultiValue::from_iter([test])).await
    };
    let expired = Failure::new(FailureKind::Timeout, format!("{} reached its deadline", scope.deadline_name))
        .at(Some(scenario.place.clone()))
        .fatal();
    let declared_at = scenario.place.clone();
    let watched = within_deadline(&context, scope, expired, body);
    let result = tokio::select! {
        biased;
        error = context.ended() => Err(error),
        result = watched => result.map(|_| ()),
        () = cancel.cancelled() => {
            Err(context.raise(Failure::new(FailureKind::Cancelled, "the run was cancelled").at(Some(scenario.place.clone()))))
        }
    };
    conclude(&lua, &context, result, declared_at, &patience).await
}

/// What is left to do when the body of a scenario is over: its tasks, its checks, the verdict, and what it has put off.
async fn conclude(
    lua: &Lua,
    context: &Arc<Context>,
    result: mlua::Result<()>,
    declared_at: Place,
    patience: &watch::Sender<Patience>,
) -> Outcome {
    let tasks = lua.remove_app_data::<Tasks>().unwrap_or_default();
    lua.set_app_data(Tasks::default());
    let unjoined = tasks.end().await;
    let result = result.and_then(|()| unjoined.map_or(Ok(()), |failure| Err(mlua::Error::external(failure))));
    let holds = result.is_ok() && context.fatal().is_none();
    let violated = lua.app_data_ref::<Checks>().and_then(|checks| checks.finish(context, holds));
    let result = result.and(violated.map_or(Ok(()), |failure| Err(mlua::Error::external(failure))));
    let (failure, count) = match judge(context, result, declared_at).await {
        Some((failure, count)) => (Some(failure), count),
        None => (None, 0),
    };
    let late = defer::run(lua, context, patience).await;
    let count = count + late.len();
    // A scenario that does not apply here has promised to leave nothing behind all the same.
    let failure = failure.filter(|failure| failure.kind != FailureKind::Skip || late.is_empty());
    match failure.or_else(|| late.into_iter().next()) {
        None => Outcome::Passed,
        Some(failure) => Outcome::Failed(Box::new(failure), count),
    }
}

/// Plays a scenario within a session, on its machines as they are.
pub(super) async fn play_declared(
    lua: &Lua,
    context: &Arc<Context>,
    scenario: &Scenario,
    body: &Function,
) -> Option<Failure> {
    let lacks = context.machines().first().and_then(|machine| {
        let missing = scenario.needs.iter().find(|need| !machine.lane.capabilities.contains(need))?;
        Some(Failure::usage(format!("lane \"{}\" has no {missing}, which it needs", machine.lane.name)))
    });
    if lacks.is_some() {
        return lacks;
    }
    lua.set_app_data(Checks::default());
    lua.set_app_data(Deferred::default());
    let limit = format!("the scenario ({:.1} s)", scenario.timeout.as_secs_f64());
    let mut scope = Scope::new(&Clock::default(), scenario.timeout, limit);
    scope.steps.push(scenario.name.clone());
    let path = scope.steps.clone();
    let timeout_s = scenario.timeout.as_secs_f64();
    let line = scenario.place.line;
    context.journal.append(Source::Script, Body::StepBegan { path: path.clone(), timeout_s, line });
    let began = Instant::now();
    let expired = Failure::new(FailureKind::Timeout, format!("{} reached its deadline", scope.deadline_name))
        .at(Some(scenario.place.clone()))
        .fatal();
    let result = match lua.create_userdata(TestSkin) {
        Ok(test) => {
            let arguments = MultiValue::from_iter([mlua::Value::UserData(test)]);
            let playing = within_deadline(context, scope, expired, call(lua, body, arguments));
            tokio::select! {
                biased;
                error = context.ended() => Err(error),
                result = playing => result.map(drop),
            }
        }
        Err(error) => Err(error),
    };
    // The session's own thread is waited for in any case.
    let (patience, _watched) = watch::channel(Patience { until: Instant::now(), is_ending: true });
    let outcome = conclude(lua, context, result, scenario.place.clone(), &patience).await;
    context.forget_fatal();
    context.forget_missed_after(0);
    let passed = matches!(outcome, Outcome::Passed);
    let took_ms = millis(began.elapsed());
    context.journal.append(Source::Script, Body::StepEnded { path, passed, took_ms });
    match outcome {
        Outcome::Passed => None,
        Outcome::Failed(failure, _) => Some(*failure),
    }
}

/// What the case brings, and over it what the command line says.
fn params_of(scenario: &Scenario, given: serde_json::Value) -> serde_json::Value {
    let Some(case) = &scenario.case else { return given };
    let mut params = case.params.clone();
    if let serde_json::Value::Object(given) = given {
        params.extend(given);
    }
    params.into()
}

/// What a finished script amounts to: why it did not hold, and how many expectations did not. A fatal failure outlives any
/// `pcall`; a missed expectation too.
async fn judge(context: &Context, result: mlua::Result<()>, declared_at: Place) -> Option<(Failure, usize)> {
    let (missed, count) = context.missed();
    let raised = result.err().map(|error| Failure::from_lua(&error));
    let failure = match (context.fatal(), raised) {
        // The same failure, which on its way got its traceback and its picture.
        (Some(fatal), Some(raised)) if fatal.message == raised.message => Some(raised),
        (fatal, raised) => fatal.or(raised),
    };
    let lost = || context.machines().iter().find_map(|machine| lost(machine));
    let failure = merged(failure, missed).or_else(lost);
    // Out of memory there is no stack to ask.
    let mut failure = failure?.at(Some(declared_at));
    if failure.kind == FailureKind::MachineEnded || failure.kind == FailureKind::LaneLost {
        // The lane says why within moments; a closed console alone is a poor explanation.
        let ends = context.machines().iter().map(|machine| {
            let mut ended = machine.lane.ended.clone();
            Box::pin(async move { machine_end(&mut ended).await })
        });
        if let Ok((end, ..)) = tokio::time::timeout(END_GRACE, future::select_all(ends)).await
            && !end.class.by_guest()
            && failure.kind == FailureKind::LaneLost
            && !failure.message.contains(&end.how)
        {
            failure.message = format!("{}\n{}", failure.message, end.how);
        }
    }
    if failure.screenshot.is_none() && failure.kind != FailureKind::Skip {
        failure.screenshot = context.screenshot_if_possible("failure").await;
    }
    Some((failure, count.max(1)))
}

/// A script that did not look at the machine any more has not seen that the host took it away.
fn lost(machine: &Machine) -> Option<Failure> {
    let ended = machine.lane.ended.borrow();
    let end = ended.as_ref().filter(|end| end.class == EndClass::Host)?;
    let which = match &machine.role {
        Some(role) => format!("the machine of lane `{role}`"),
        None => "the machine".to_owned(),
    };
    let message = format!("{which} was gone before the scenario had ended: {}", end.how);
    Some(Failure::new(FailureKind::LaneLost, message))
}

/// The failure to report: what stopped the script, unless that was only the echo of an earlier miss.
fn merged(raised: Option<Failure>, missed: Option<Failure>) -> Option<Failure> {
    match (raised, missed) {
        (Some(raised), Some(missed))
            if raised.kind == FailureKind::Expectation && raised.place == missed.place =>
        {
            Some(raised)
        }
        (Some(raised), Some(_)) if matches!(raised.kind, FailureKind::LaneLost | FailureKind::Cancelled) => {
            Some(raised)
        }
        (_, Some(missed)) => Some(missed),
        (raised, None) => raised,
    }
}

/// How long after its timeout a script that cannot even be stopped is waited for.
pub(super) const STUCK_GRACE: Duration = Duration::from_secs(5);
const END_GRACE: Duration = Duration::from_secs(3);
