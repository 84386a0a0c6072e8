//! For people: what fits into 80 columns.

use super::{Flakes, Scenario, Wait};
use crate::report::style::{Look, Tone};
use crate::report::text::{one_line, shorten};

/// At most `limit` waits and as many scenarios, what needs attention first.
pub fn table(flakes: &Flakes, limit: usize, look: Look) -> String {
    let mut text = String::new();
    let times: usize = flakes.waits.iter().map(|wait| wait.count).sum();
    let runs = count(flakes.runs, "run");
    let head = format!("{} in {runs}, {times} times; the tightest first", count(flakes.waits.len(), "wait"));
    text.push_str(&format!("{}\n", look.paint(Tone::Strong, head)));
    if !flakes.waits.is_empty() {
        text.push_str("slack      p50      p99  deadline  suggested   trend   times  timeouts\n");
    }
    for wait in flakes.waits.iter().take(limit) {
        text.push_str(&wait_lines(wait, look));
    }
    text.push_str(&more(flakes.waits.len(), limit, look));
    let shaky: Vec<&Scenario> = flakes.scenarios.iter().filter(|it| it.flaky + it.failed > 0).collect();
    let always = flakes.scenarios.len() - shaky.len();
    let head =
        format!("{}, {always} of them passed always at once", count(flakes.scenarios.len(), "scenario"));
    text.push_str(&format!("\n{}\n", look.paint(Tone::Strong, head)));
    if !shaky.is_empty() {
        text.push_str("flaky  failed    runs\n");
    }
    for scenario in shaky.iter().take(limit) {
        text.push_str(&scenario_lines(scenario, look));
    }
    text.push_str(&more(shaky.len(), limit, look));
    text
}

fn wait_lines(wait: &Wait, look: Look) -> String {
    let tone = match wait.slack_p99 {
        slack if slack < 0.2 || wait.timeouts > 0 => Tone::Bad,
        slack if slack < 0.5 => Tone::Warn,
        _ => Tone::Good,
    };
    let slack = look.paint(tone, format!("{:>5}", percent(wait.slack_p99)));
    let (p50, p99) = (seconds(wait.used_p50_ms), seconds(wait.used_p99_ms));
    let deadline = seconds(wait.deadline_ms);
    let suggested = wait.suggested_s.map_or("-".to_owned(), |seconds| format!("{seconds} s"));
    let trend = wait.trend.map_or("-".to_owned(), |trend| format!("{:+.0} %", trend * 100.0));
    let mut text = format!(
        "{slack} {p50:>8} {p99:>8} {deadline:>9} {suggested:>10} {trend:>7} {:>7} {:>9}\n",
        wait.count, wait.timeouts
    );
    let what = one_line(&format!("{} {}", wait.key.call, wait.key.wanted));
    text.push_str(&format!("      {}\n", fit(&what, 6)));
    let step = if wait.key.step.is_empty() { String::new() } else { format!(", step {}", wait.key.step) };
    let place = one_line(&format!("line {} of {}{step}", wait.key.line, wait.key.scenario));
    text.push_str(&format!("      {}\n", look.paint(Tone::Faint, fit(&place, 6))));
    if let Some(host) = host(wait) {
        text.push_str(&format!("      {}\n", look.paint(Tone::Warn, fit(&host, 6))));
    }
    text
}

/// What the host has to do with it, when it does.
fn host(wait: &Wait) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(crowded) = wait.crowded
        && crowded.crowded_p50_ms > crowded.calm_p50_ms * 1.2
    {
        let times = crowded.crowded_p50_ms / crowded.calm_p50_ms.max(1.0);
        parts.push(format!("{times:.1} times as long on a crowded host ({} times)", crowded.count));
    }
    if let Some(speed) = wait.lane_speed.filter(|speed| *speed < 0.9) {
        parts.push(format!("lane speed {speed:.2}"));
    }
    if let Some(load) = wait.host_load.filter(|load| *load > 1.0) {
        parts.push(format!("host load {load:.1}"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn scenario_lines(scenario: &Scenario, look: Look) -> String {
    let tone = if scenario.failed > 0 { Tone::Bad } else { Tone::Warn };
    let flaky = look.paint(tone, format!("{:>5}", percent(scenario.flake_rate)));
    let kinds: Vec<String> = scenario.kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let line = format!("{flaky} {:>7} {:>7}  ", percent(scenario.failure_rate), scenario.runs);
    let id = fit(&one_line(&scenario.id), 23);
    format!("{line}{id}\n{:23}{}\n", "", look.paint(Tone::Faint, fit(&kinds.join(", "), 23)))
}

fn more(all: usize, limit: usize, look: Look) -> String {
    match all.saturating_sub(limit) {
        0 => String::new(),
        more => format!("{}\n", look.paint(Tone::Faint, format!("… and {more} more"))),
    }
}

fn count(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

fn seconds(millis: f64) -> String {
    match millis {
        _ if millis < 10_000.0 => format!("{:.2} s", millis / 1e3),
        _ if millis < 1_000_000.0 => format!("{:.1} s", millis / 1e3),
        _ => format!("{:.0} s", millis / 1e3),
    }
}

/// What is left of 80 columns behind an indentation.
fn fit(text: &str, indent: usize) -> String {
    let width = 80 - indent;
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let cut: String = text.chars().take(width - 1).collect();
    shorten(&format!("{cut}…"), 4 * 80)
}
