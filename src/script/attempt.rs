//! One try at one scenario on one lane: a Lua state of its own, on a thread of its own, with a watchdog.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::MultiValue;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use super::context::{Context, Scope, machine_end};
use super::failure::{Failure, FailureKind, Place};
use super::sandbox::{Sandbox, StopFlag};
use super::scenario::{Scenario, Script, declare};
use super::test::{Params, Run, Tasks, TestSkin, call, within_deadline};
use crate::journal::Journal;
use crate::lane::handle::{EndClass, LaneHandle};

/// What an attempt needs.
pub struct AttemptOptions {
    /// The script.
    pub script: Script,
    /// Which of its scenarios.
    pub scenario: Scenario,
    /// Where everything is noted.
    pub journal: Journal,
    /// The machine.
    pub lane: LaneHandle,
    /// Where screenshots and attachments go.
    pub folder: PathBuf,
    /// What the command line says of `t.params`, an object; it wins over what the scenario's case says.
    pub params: serde_json::Value,
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
/// script does.
pub async fn run_attempt(options: AttemptOptions) -> Outcome {
    let stop = StopFlag::default();
    let timeout = options.scenario.timeout;
    let hard_limit = timeout + STUCK_GRACE;
    let scope = Scope {
        steps: Vec::new(),
        deadline: Instant::now() + timeout,
        deadline_name: format!("the scenario ({:.1} s)", timeout.as_secs_f64()),
        tentative: false,
    };
    let (journal, lane, folder) = (options.journal.clone(), options.lane.clone(), options.folder.clone());
    let context = Arc::new(Context::new(journal, lane, folder, scope));
    let cancel = options.cancel.clone();
    let place = options.scenario.place.clone();
    let (done, outcome) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let thread = {
        let (stop, context) = (stop.clone(), Arc::clone(&context));
        std::thread::Builder::new().name("scenario".to_owned()).spawn(move || {
            let local = LocalSet::new();
            let result = runtime.block_on(local.run_until(attempt(options, context, &stop)));
            // Nobody listens any more when the watchdog gave up on this thread.
            let _ = done.send(result);
        })
    };
    if let Err(error) = thread {
        let failure =
            Failure::new(FailureKind::LaneLost, format!("cannot start a thread for the scenario: {error}"));
        return Outcome::Failed(Box::new(failure), 1);
    }
    let cancelled = async {
        cancel.cancelled().await;
        tokio::time::sleep(STUCK_GRACE).await;
    };
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
        () = tokio::time::sleep(hard_limit) => "the script is stuck inside a single call and was abandoned",
        () = cancelled => "the script did not stop when it was cancelled and was abandoned",
    };
    stop.set();
    let mut failure = Failure::new(FailureKind::Timeout, stuck)
        .at(Some(place))
        .hint("a pattern like `(.-)*` in string.find can run for ever; `pattern(…)` matches in linear time");
    failure.screenshot = context.screenshot_if_possible("failure").await;
    Outcome::Failed(Box::new(failure), 1)
}

async fn attempt(options: AttemptOptions, context: Arc<Context>, stop: &StopFlag) -> Outcome {
    let scope = context.scope.clone();
    let AttemptOptions { script, scenario, params, cancel, .. } = options;
    let sandbox = {
        let context = Arc::clone(&context);
        Sandbox::new(stop, move || context.fatal())
    };
    let sandbox = match sandbox {
        Ok(sandbox) => sandbox,
        Err(error) => return Outcome::Failed(Box::new(Failure::from_lua(&error)), 1),
    };
    let lua = sandbox.lua.clone();
    lua.set_app_data(Arc::clone(&context));
    lua.set_app_data(Params(params_of(&scenario, params)));
    lua.set_app_data(Run(sandbox.run.clone()));
    lua.set_app_data(Tasks::default());

    let body = async {
        let declared = declare(&sandbox, &script)?;
        let declared = declared.get(scenario.index).ok_or_else(|| {
            mlua::Error::external(Failure::new(
                FailureKind::Script,
                "the script declares other scenarios than before",
            ))
        })?;
        call(
            &lua,
            &declared.body,
            MultiValue::from_iter([lua.create_userdata(TestSkin).map(mlua::Value::UserData)?]),
        )
        .await
    };
    let expired = Failure::new(FailureKind::Timeout, format!("{} reached its deadline", scope.deadline_name))
        .at(Some(scenario.place.clone()))
        .fatal();
    let declared_at = scenario.place.clone();
    let watched = within_deadline(&context, scope, expired, body);
    let result = tokio::select! {
        biased;
        result = watched => result.map(|_| ()),
        () = cancel.cancelled() => {
            Err(context.raise(Failure::new(FailureKind::Cancelled, "the run was cancelled").at(Some(scenario.place.clone()))))
        }
    };
    let result = match result {
        Ok(()) => {
            let tasks = lua.remove_app_data::<Tasks>().unwrap_or_default();
            tasks.unjoined_failure().await.map_or(Ok(()), |failure| Err(mlua::Error::external(failure)))
        }
        failed => failed,
    };
    judge(&context, result, declared_at).await
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

/// What a finished script amounts to. A fatal failure outlives any `pcall`; a missed expectation too.
async fn judge(context: &Context, result: mlua::Result<()>, declared_at: Place) -> Outcome {
    let (missed, count) = context.missed();
    let raised = result.err().map(|error| Failure::from_lua(&error));
    let failure = match (context.fatal(), raised) {
        // The same failure, which on its way got its traceback and its picture.
        (Some(fatal), Some(raised)) if fatal.message == raised.message => Some(raised),
        (fatal, raised) => fatal.or(raised),
    };
    let failure = merged(failure, missed).or_else(|| lost(&context.lane));
    let Some(failure) = failure else { return Outcome::Passed };
    // Out of memory there is no stack to ask.
    let mut failure = failure.at(Some(declared_at));
    if failure.kind == FailureKind::MachineEnded || failure.kind == FailureKind::LaneLost {
        // The lane says why within moments; a closed console alone is a poor explanation.
        let mut ended = context.lane.ended.clone();
        if let Ok(end) = tokio::time::timeout(END_GRACE, machine_end(&mut ended)).await
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
    Outcome::Failed(Box::new(failure), count.max(1))
}

/// A script that did not look at the machine any more has not seen that the host took it away.
fn lost(lane: &LaneHandle) -> Option<Failure> {
    let ended = lane.ended.borrow();
    let end = ended.as_ref().filter(|end| end.class == EndClass::Host)?;
    let message = format!("the machine was gone before the scenario had ended: {}", end.how);
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
const STUCK_GRACE: Duration = Duration::from_secs(5);
const END_GRACE: Duration = Duration::from_secs(3);
