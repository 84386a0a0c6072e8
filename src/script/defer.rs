//! `t:defer`: what is done at the end of a scenario, however it ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mlua::{Function, Lua, MultiValue, Table, UserDataMethods};
use tokio::sync::watch;

use super::attempt::{Patience, STUCK_GRACE};
use super::context::{Context, Scope, caller, millis};
use super::failure::{Failure, FailureKind, Place};
use super::options::Options;
use super::test::{TestSkin, call, within_deadline};
use crate::journal::{Body, Source};

/// What was put off; lives in the Lua state as app data.
#[derive(Default)]
pub(super) struct Deferred(Mutex<Vec<Part>>);

struct Part {
    function: Function,
    timeout: Duration,
    place: Option<Place>,
}

/// Adds `t:defer`.
pub(super) fn add<M: UserDataMethods<TestSkin>>(methods: &mut M) {
    methods.add_method("defer", |lua, _, (function, options): (Function, Option<Table>)| {
        let place = caller(lua);
        let context = Context::of(lua);
        let deferred =
            lua.app_data_ref::<Deferred>().expect("every attempt sets what is deferred before it runs");
        let mut parts = deferred.0.lock().unwrap_or_else(PoisonError::into_inner);
        let timeout = Options::new("t:defer", options, &["timeout"])
            .and_then(|options| options.seconds("timeout"))
            .and_then(|timeout| match parts.len() < MOST {
                true => Ok(timeout.unwrap_or(TIMEOUT)),
                false => Err(Failure::usage(format!("t:defer: {MOST} functions are deferred already"))),
            })
            .map_err(|failure| context.raise(failure.at(place.clone())))?;
        parts.push(Part { function, timeout, place });
        Ok(())
    });
}

/// Does what was put off, the last one first, each within its own deadline. Returns what went wrong. Tells how
/// long the script's thread is to be waited for meanwhile.
pub(super) async fn run(
    lua: &Lua,
    context: &Arc<Context>,
    patience: &watch::Sender<Patience>,
) -> Vec<Failure> {
    let mut failures = Vec::new();
    // One that is done may put off another; the sum is bounded all the same.
    for _ in 0..MOST {
        let Some(part) = next(lua) else { break };
        context.forget_fatal();
        let clock = &context.scope.clock;
        let began = clock.now();
        let until = began + part.timeout + STUCK_GRACE;
        patience.send_replace(Patience { until, is_ending: true });
        let name = match &part.place {
            Some(place) => format!("the deferred function of line {}", place.line),
            None => "a deferred function".to_owned(),
        };
        let limit = format!("{name} ({:.1} s)", part.timeout.as_secs_f64());
        let scope = Scope::new(clock, part.timeout, limit);
        let expired =
            Failure::new(FailureKind::Timeout, format!("{} reached its deadline", scope.deadline_name))
                .at(part.place.clone())
                .fatal();
        let (_, before) = context.missed();
        let done =
            within_deadline(context, scope, expired, call(lua, &part.function, MultiValue::new())).await;
        let mut missed = context.missed_after(before);
        if let Err(error) = done {
            let failure = Failure::from_lua(&error).at(part.place.clone());
            // A missed expectation is among the missed already.
            if missed.is_empty() || failure.kind != FailureKind::Expectation {
                missed.push(match failure.kind {
                    FailureKind::Skip => {
                        Failure::usage("t:skip: a deferred function has nothing to skip").at(failure.place)
                    }
                    _ => failure,
                });
            }
        }
        let body = Body::Deferred {
            took_ms: millis(clock.since(began)),
            error: missed.first().map(ToString::to_string),
            line: part.place.as_ref().map_or(0, |place| place.line),
        };
        context.journal.append(Source::Script, body);
        failures.append(&mut missed);
    }
    context.forget_fatal();
    failures
}

fn next(lua: &Lua) -> Option<Part> {
    let deferred = lua.app_data_ref::<Deferred>()?;
    deferred.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

const TIMEOUT: Duration = Duration::from_secs(30);
const MOST: usize = 1_000;
