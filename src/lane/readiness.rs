//! Whether a lane is ready: gates are questions to the journal, so what they saw is there for whoever asks why a lane
//! did not come up.

use std::time::{Duration, Instant};

use serde_json::Map;
use tokio::sync::watch;

use super::error::LaneError;
use super::handle::LaneEnd;
use super::profile::{Gate, GateKind};
use super::qmp::QmpClient;
use super::supervise::{Ending, Stopped, stopped};
use crate::journal::{Body, Cursor, Event, Journal, Source};

/// What is watched while a gate is waited for.
#[derive(Clone, Copy)]
pub(super) struct Vigil<'a> {
    pub(super) journal: &'a Journal,
    pub(super) ended: &'a watch::Receiver<Option<LaneEnd>>,
    pub(super) ending: &'a watch::Receiver<Ending>,
}

/// Waits for one gate of the plan.
pub(super) async fn pass(gate: &Gate, qmp: Option<&QmpClient>, vigil: Vigil<'_>) -> Result<(), LaneError> {
    pass_when(gate_name(&gate.kind), gate.timeout, reach(&gate.kind, vigil.journal, qmp), vigil).await
}

/// Waits for what opens the gate called `name`, for at most `timeout`.
pub(super) async fn pass_when(
    name: &'static str,
    timeout: Duration,
    opens: impl Future<Output = Result<(), String>>,
    vigil: Vigil<'_>,
) -> Result<(), LaneError> {
    let Vigil { journal, ended, ending } = vigil;
    let began = Instant::now();
    let waited_for = format!("gate {name} (up to {:.0} s)", timeout.as_secs_f64());
    let waiting = Body::LaneState { state: "waiting".to_owned(), detail: Some(waited_for) };
    journal.append(Source::Lane, waiting);
    let mut ended = ended.clone();
    let mut stops = ending.clone();
    let outcome = tokio::select! {
        biased;
        result = opens => result,
        end = async { ended.wait_for(Option::is_some).await.map(|end| end.clone()).ok().flatten() } => {
            Err(end.map_or_else(|| "the lane's supervisor is gone".to_owned(), |end| end.how))
        }
        how = stopped(&mut stops) => Err(how),
        () = tokio::time::sleep(timeout) => Err(format!("not within {:.0} s", timeout.as_secs_f64())),
    };
    let waited = began.elapsed();
    let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    let seen = outcome.as_ref().err().cloned();
    journal
        .append(Source::Lane, Body::Gate { gate: name.to_owned(), passed: outcome.is_ok(), waited_ms, seen });
    outcome.map_err(|why| match ending.borrow().stopped {
        Some(Stopped::Internal) => LaneError::Stopped,
        _ => LaneError::Gate { gate: name, why, seen: seen_so_far(journal) },
    })
}

async fn reach(kind: &GateKind, journal: &Journal, qmp: Option<&QmpClient>) -> Result<(), String> {
    let mut cursor = Cursor::default();
    match kind {
        GateKind::Qmp => {
            let qmp = qmp.ok_or_else(|| "there is no QMP connection".to_owned())?;
            let status =
                qmp.execute("query-status", Map::new(), ANSWER).await.map_err(|error| error.to_string())?;
            match status.get("running").and_then(serde_json::Value::as_bool) {
                Some(true) => Ok(()),
                _ => Err(format!("the machine is not running: {status}")),
            }
        }
        GateKind::SpiceSurface => {
            let is_surface = |event: &Event| matches!(event.body, Body::SurfaceCreated { .. });
            journal.next_match(Source::Screen, &mut cursor, is_surface).await;
            Ok(())
        }
        GateKind::SerialLine { pattern } => {
            let pattern = regex_lite::Regex::new(pattern).map_err(|error| error.to_string())?;
            let matches = |event: &Event| match &event.body {
                Body::SerialLine { text } | Body::SerialPrompt { text } => pattern.is_match(text),
                _ => false,
            };
            journal.next_match(Source::Serial, &mut cursor, matches).await;
            Ok(())
        }
        GateKind::Digest => {
            let is_digest = |event: &Event| matches!(event.body, Body::DigestUpdated { .. });
            journal.next_match(Source::Digest, &mut cursor, is_digest).await;
            Ok(())
        }
        GateKind::Quiet { quiet_for } => {
            journal.silence(Source::Screen, *quiet_for).await;
            Ok(())
        }
    }
}

/// What the machine has shown so far, for a gate that was not reached.
fn seen_so_far(journal: &Journal) -> String {
    let screen = journal.after(Source::Screen, Cursor::default());
    let surface = screen.iter().rev().find_map(|event| match event.body {
        Body::SurfaceCreated { width, height, .. } => Some(format!("a {width}x{height} surface")),
        _ => None,
    });
    let draws = screen.iter().filter(|event| matches!(event.body, Body::SurfaceDrawn { .. })).count();
    let serial = journal.after(Source::Serial, Cursor::default());
    let lines: Vec<String> = serial
        .iter()
        .filter_map(|event| match &event.body {
            Body::SerialLine { text } if !text.trim().is_empty() => Some(format!("\n  {text}")),
            _ => None,
        })
        .collect();
    let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].concat();
    let last = if last.is_empty() { " no line".to_owned() } else { last };
    format!(
        "screen: {}, {draws} times redrawn; serial:{last}",
        surface.unwrap_or_else(|| "no surface".to_owned())
    )
}

fn gate_name(kind: &GateKind) -> &'static str {
    match kind {
        GateKind::Qmp => "qmp",
        GateKind::SpiceSurface => "spice-surface",
        GateKind::SerialLine { .. } => "serial-line",
        GateKind::Digest => "digest",
        GateKind::Quiet { .. } => "quiet",
    }
}

/// For a question to QEMU.
const ANSWER: Duration = Duration::from_secs(20);
const LINES_SHOWN: usize = 5;
