//! For programs: JSON, and CSV as RFC 4180 wants it.

use serde_json::json;

use super::{Flakes, Scenario, Wait};

/// The name in the document.
const FORMAT: &str = "backstaff-flakes";
const VERSION: u32 = 1;

/// One JSON document.
pub fn json(flakes: &Flakes) -> String {
    let Flakes { runs, first, last, waits, scenarios, unreadable } = flakes;
    let document = json!({
        "format": FORMAT,
        "version": VERSION,
        "runs": runs,
        "first": first,
        "last": last,
        "waits": waits,
        "scenarios": scenarios,
        "unreadable": unreadable,
    });
    format!("{document:#}\n")
}

/// The waits, one a line below a line of names.
pub fn csv_waits(flakes: &Flakes) -> String {
    let names = [
        "scenario",
        "step",
        "call",
        "wanted",
        "line",
        "count",
        "timeouts",
        "too_short",
        "deadline_ms",
        "used_p50_ms",
        "used_p99_ms",
        "slack_p50",
        "slack_p99",
        "trend",
        "suggested_s",
        "host_load",
        "lane_speed",
        "crowded_count",
        "crowded_p50_ms",
        "calm_p50_ms",
        "load_correlation",
    ];
    let mut text = row(names.map(str::to_owned));
    flakes.waits.iter().for_each(|wait| text.push_str(&row(wait_fields(wait))));
    text
}

fn wait_fields(wait: &Wait) -> [String; 21] {
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    [
        wait.key.scenario.clone(),
        wait.key.step.clone(),
        wait.key.call.clone(),
        wait.key.wanted.clone(),
        wait.key.line.to_string(),
        wait.count.to_string(),
        wait.timeouts.to_string(),
        wait.too_short.to_string(),
        wait.deadline_ms.to_string(),
        wait.used_p50_ms.to_string(),
        wait.used_p99_ms.to_string(),
        wait.slack_p50.to_string(),
        wait.slack_p99.to_string(),
        number(wait.trend),
        wait.suggested_s.map(|seconds| seconds.to_string()).unwrap_or_default(),
        number(wait.host_load),
        number(wait.lane_speed),
        wait.crowded.map(|crowded| crowded.count.to_string()).unwrap_or_default(),
        number(wait.crowded.map(|crowded| crowded.crowded_p50_ms)),
        number(wait.crowded.map(|crowded| crowded.calm_p50_ms)),
        number(wait.load_correlation),
    ]
}

/// The scenarios, one a line below a line of names.
pub fn csv_scenarios(flakes: &Flakes) -> String {
    let names = ["id", "runs", "flaky", "failed", "flake_rate", "failure_rate", "kinds"];
    let mut text = row(names.map(str::to_owned));
    for Scenario { id, runs, flaky, failed, flake_rate, failure_rate, kinds } in &flakes.scenarios {
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let numbers = [runs.to_string(), flaky.to_string(), failed.to_string()];
        let rates = [flake_rate.to_string(), failure_rate.to_string(), kinds.join("; ")];
        text.push_str(&row(std::iter::once(id.clone()).chain(numbers).chain(rates)));
    }
    text
}

/// Fields that need quotes have them, quotes are doubled, and lines end as the RFC says.
fn row(fields: impl IntoIterator<Item = String>) -> String {
    let quoted = fields.into_iter().map(|field| match field.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    });
    quoted.collect::<Vec<_>>().join(",") + "\r\n"
}
