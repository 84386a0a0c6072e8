//! One file with charts, for a browser without a network; light and dark.

use std::fmt::Write as _;

use super::{Flakes, Scenario, Wait};
use crate::report::text::{clean, one_line, shorten};

/// The page: the tightest waits with their bars and courses, then the scenarios that do not always pass.
pub fn html(flakes: &Flakes) -> String {
    let mut page = String::from(HEAD);
    let span = match (flakes.first, flakes.last) {
        (Some(first), Some(last)) => {
            format!(", {} to {}", first.strftime("%Y-%m-%d"), last.strftime("%Y-%m-%d"))
        }
        _ => String::new(),
    };
    let times: usize = flakes.waits.iter().map(|wait| wait.count).sum();
    let _ = write!(
        page,
        "<h1>Waits and flakes</h1>\n<p>{} runs{span}: {} waits, {times} times; {} scenarios.</p>\n",
        flakes.runs,
        flakes.waits.len(),
        flakes.scenarios.len()
    );
    if !flakes.unreadable.is_empty() {
        let _ = writeln!(page, "<p class=bad>{} journals could not be read.</p>", flakes.unreadable.len());
    }
    page.push_str(WAITS_HEAD);
    flakes.waits.iter().take(MAX_ROWS).for_each(|wait| wait_row(wait, &mut page));
    page.push_str("</table>\n");
    more(flakes.waits.len(), &mut page);
    page.push_str(SCENARIOS_HEAD);
    let shaky: Vec<_> = flakes.scenarios.iter().filter(|it| it.flaky + it.failed > 0).collect();
    shaky.iter().take(MAX_ROWS).for_each(|scenario| scenario_row(scenario, &mut page));
    page.push_str("</table>\n");
    more(shaky.len(), &mut page);
    page.push_str("</html>\n");
    page
}

fn more(all: usize, page: &mut String) {
    if all > MAX_ROWS {
        let _ = writeln!(
            page,
            "<p>… and {} more: <code>--json</code> and <code>--csv</code> have all.</p>",
            all - MAX_ROWS
        );
    }
}

fn wait_row(wait: &Wait, page: &mut String) {
    let class = match wait.slack_p99 {
        slack if slack < 0.2 || wait.timeouts > 0 => "bad",
        slack if slack < 0.5 => "warn",
        _ => "good",
    };
    let step = if wait.key.step.is_empty() { String::new() } else { format!(", step {}", wait.key.step) };
    let place = format!("{}, line {}{step}", wait.key.scenario, wait.key.line);
    let suggested = wait.suggested_s.map_or("–".to_owned(), |seconds| format!("{seconds} s"));
    let trend = wait.trend.map_or("–".to_owned(), |trend| format!("{:+.0} %", trend * 100.0));
    let crowded = wait.crowded.map_or("–".to_owned(), |crowded| {
        format!("× {:.1}", crowded.crowded_p50_ms / crowded.calm_p50_ms.max(1.0))
    });
    let host = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
    let _ = writeln!(
        page,
        "<tr><td><b>{}</b><br><small>{}</small></td><td class={class}>{:.0} %</td><td>{}</td><td>{}</td>\
<td>{:.2} s</td><td>{suggested}</td><td>{trend}</td><td>{}</td><td>{}</td><td>{crowded}</td><td>{}</td><td>{}</td></tr>",
        text(&format!("{} {}", wait.key.call, wait.key.wanted)),
        text(&place),
        wait.slack_p99 * 100.0,
        bar(wait, class),
        course(wait),
        wait.deadline_ms / 1e3,
        wait.count,
        wait.timeouts,
        host(wait.host_load),
        host(wait.lane_speed),
    );
}

/// What was used of the deadline: the median dark, up to p99 light, the deadline a line.
fn bar(wait: &Wait, class: &str) -> String {
    let scale = wait.deadline_ms.max(wait.used_p99_ms).max(1.0);
    let at = |millis: f64| (millis / scale * BAR_WIDTH).clamp(0.0, BAR_WIDTH);
    let (p50, p99, deadline) = (at(wait.used_p50_ms), at(wait.used_p99_ms), at(wait.deadline_ms));
    format!(
        "<svg class={class} width=130 height=16 role=img aria-label=\"p50 {:.2} s, p99 {:.2} s of {:.2} s\">\
<rect class=late x=0 y=3 width={p99:.1} height=10 /><rect class=used x=0 y=3 width={p50:.1} height=10 />\
<line x1={deadline:.1} x2={deadline:.1} y1=0 y2=16 /></svg>",
        wait.used_p50_ms / 1e3,
        wait.used_p99_ms / 1e3,
        wait.deadline_ms / 1e3,
    )
}

/// What was used over time, the oldest at the left.
fn course(wait: &Wait) -> String {
    let highest = wait.points_ms.iter().copied().fold(1.0, f64::max);
    let step = BAR_WIDTH / super::millis((wait.points_ms.len().max(2) - 1) as u64);
    let points: Vec<String> = wait
        .points_ms
        .iter()
        .zip(0_u32..)
        .map(|(millis, index)| {
            format!("{:.1},{:.1}", f64::from(index) * step, 22.0 - millis / highest * 20.0)
        })
        .collect();
    format!(
        "<svg width=130 height=24 role=img aria-label=\"over time, up to {:.2} s\"><polyline points=\"{}\" /></svg>",
        highest / 1e3,
        points.join(" ")
    )
}

fn scenario_row(scenario: &Scenario, page: &mut String) {
    let kinds: Vec<String> = scenario.kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let (flaky, failed) = (scenario.flake_rate * BAR_WIDTH, scenario.failure_rate * BAR_WIDTH);
    let _ = writeln!(
        page,
        "<tr><td><b>{}</b><br><small>{}</small></td><td>{:.0} %</td><td>{:.0} %</td>\
<td><svg width=130 height=16 role=img aria-label=\"{} flaky and {} failed of {}\"><rect class=all x=0 y=3 width=120 height=10 />\
<rect class=flaky x=0 y=3 width={flaky:.1} height=10 /><rect class=failed x={flaky:.1} y=3 width={failed:.1} height=10 />\
</svg></td><td>{}</td></tr>",
        text(&scenario.id),
        text(&kinds.join(", ")),
        scenario.flake_rate * 100.0,
        scenario.failure_rate * 100.0,
        scenario.flaky,
        scenario.failed,
        scenario.runs,
        scenario.runs,
    );
}

fn text(text: &str) -> String {
    let line = shorten(&one_line(&clean(text)), 400);
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const BAR_WIDTH: f64 = 120.0;
/// Of each table.
const MAX_ROWS: usize = 200;

const HEAD: &str = "<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">
<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">
<title>Waits and flakes</title>
<style>
:root { color-scheme: light dark; --ink: #1c2024; --paper: #fdfdfc; --line: #d9d9e0; --faint: #60646c;
  --good: #218358; --warn: #ab6400; --bad: #ce2c31; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --paper: #111113; --line: #363a3f; --faint: #b0b4ba;
  --good: #3dd68c; --warn: #ffca16; --bad: #ff9592; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2em auto;
  max-width: 84em; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .35em .7em; border-bottom: 1px solid var(--line); vertical-align: top;
  white-space: nowrap; font-variant-numeric: tabular-nums; }
td:first-child { white-space: normal; min-width: 22em; overflow-wrap: anywhere; }
small, th { color: var(--faint); font-weight: normal; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
svg { display: block; color: inherit; } .used { fill: currentColor; } .late { fill: currentColor; opacity: .35; }
line { stroke: var(--ink); stroke-width: 2; } polyline { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.all { fill: var(--line); } .flaky { fill: var(--warn); } .failed { fill: var(--bad); }
</style>
";

const WAITS_HEAD: &str = "<h2>Waits, the tightest first</h2>
<table><tr><th>wait<th>slack<th>p50 and p99 of the deadline<th>over time<th>deadline<th>suggested<th>trend<th>times\
<th>timeouts<th>crowded host<th>load<th>lane speed</tr>
";

const SCENARIOS_HEAD: &str = "<h2>Scenarios that do not always pass at once</h2>
<table><tr><th>scenario<th>flaky<th>failed<th><th>runs</tr>
";
