//! A scenario that stands still, without a scenario: a test answers what is asked. For tests of the loop.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::journal::Journal;
use crate::lane::handle::LaneHandle;
use crate::script::prompt::{Ask, Decision, Frame, Held, Shown, Variable};
use crate::script::{Failure, FailureKind, Place, Script};

/// Whether somebody's `wait` has begun.
pub(super) static WAITS: AtomicBool = AtomicBool::new(false);

/// What stands still, and where its questions arrive.
pub(super) fn held(is_session: bool, folder: &Path, failure: Option<Failure>) -> (Held, mpsc::Receiver<Ask>) {
    let (asks, asked) = mpsc::channel(4);
    let place = failure.as_ref().and_then(|failure| failure.place.clone());
    let held = Held {
        frames: place.iter().map(frame).collect(),
        failure,
        place,
        steps: if is_session { Vec::new() } else { vec!["boot".to_owned()] },
        scenario: if is_session { "prompt" } else { "it" }.to_owned(),
        is_session,
        lanes: vec![(None, LaneHandle::none("sim"))],
        notes: Vec::new(),
        rewindable: Vec::new(),
        journal: Journal::new(),
        folder: folder.to_owned(),
        asks,
    };
    (held, asked)
}

fn frame(place: &Place) -> Frame {
    let variable = |name: &str, value, is_upvalue| Variable { name: name.to_owned(), is_upvalue, value };
    Frame {
        function: "the step \"boot\"".to_owned(),
        place: Some(place.clone()),
        variables: vec![
            variable("row", Shown::Integer(21), false),
            variable("t", Shown::Thing("t".to_owned()), true),
        ],
    }
}

/// A wait that failed in this line.
pub(super) fn timeout(file: &Path, line: u32) -> Failure {
    let place = Place { file: file.display().to_string(), line };
    Failure::new(FailureKind::Timeout, "serial: no match for \"ready\" within 1 s").at(Some(place))
}

/// Answers like a session: numbers are themselves, `fail` fails, `wait` waits until it is cancelled, what else there is
/// gives nothing. Returns how the prompt ended, and what was evaluated.
pub(super) async fn answer(
    mut asked: mpsc::Receiver<Ask>,
    nested: Option<(mpsc::Sender<Held>, Held, mpsc::Receiver<Ask>)>,
) -> (Option<Decision>, Vec<String>) {
    let mut nested = nested;
    let mut seen = Vec::new();
    while let Some(ask) = asked.recv().await {
        match ask {
            Ask::Eval { source, name, cancel, answer } => {
                let result = match source.as_str() {
                    "fail" => Err(Failure::new(FailureKind::Script, "it does not work")
                        .at(Some(Place { file: name, line: 1 }))
                        .hint("try something else")),
                    "wait" => {
                        WAITS.store(true, Ordering::SeqCst);
                        cancel.cancelled().await;
                        Err(Failure::new(FailureKind::Cancelled, "cancelled"))
                    }
                    number => Ok(number.parse().map(Shown::Integer).into_iter().collect()),
                };
                seen.push(source);
                let _ = answer.send(result);
            }
            Ask::Source { script, answer, .. } => drop(answer.send(names(&script))),
            Ask::Run { answer, .. } => {
                let mut result = Ok(());
                if let Some((prompts, held, inner)) = nested.take() {
                    let failure = held.failure.clone();
                    let _ = prompts.send(held).await;
                    let (decision, inner) = Box::pin(self::answer(inner, None)).await;
                    seen.extend(inner.into_iter().map(|source| format!("inside: {source}")));
                    if decision != Some(Decision::Retry) {
                        result = Err(failure.expect("something failed"));
                    }
                }
                let _ = answer.send(result);
            }
            Ask::Frames { answer } => {
                let place = Place { file: "a.lua".to_owned(), line: 3 };
                let _ = answer.send(vec![frame(&place)]);
            }
            Ask::Names { answer } => drop(answer.send(vec![("row".to_owned(), "number".to_owned())])),
            Ask::Rewind { step, answer } => drop(answer.send(Ok(step.unwrap_or_default()))),
            Ask::End(decision) => return (Some(decision), seen),
        }
    }
    (None, seen)
}

fn names(script: &Script) -> Result<Vec<String>, Failure> {
    match crate::script::load(script) {
        Ok(scenarios) => Ok(scenarios.into_iter().map(|scenario| scenario.name).collect()),
        Err(error) => Err(Failure::new(FailureKind::Script, error.to_string())),
    }
}
