//! What a person sees: a table that moves while attempts run, and the lines that stay. Piped, only those stay.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use unicode_width::UnicodeWidthChar as _;

use super::failure::{printable, render};
use super::story::{Counts, Outcome};
use super::style::{Look, Tone};
use crate::journal::{Body, Cursor, Event, Journal};
use crate::runner::{AttemptReport, FailedScript, RunEvent, RunPlan, Summary, Test, Verdict};
use crate::script::LoadError;

/// Writes a run to `out` while it goes on.
pub struct Terminal<W> {
    out: W,
    look: Look,
    options: TerminalOptions,
    plan: Option<RunPlan>,
    /// Attempts that run, in the order in which they began.
    running: Vec<Running>,
    /// How many lines of the moving table are on the screen now.
    live_lines: usize,
    ticks: usize,
    began: Instant,
    /// How many tests ended, by their verdicts.
    ended: BTreeMap<Verdict, usize>,
    /// A line for each test that is not fine, said again at the end.
    failures: Vec<String>,
    /// Why lanes are not accelerated, said once a run.
    fallback: Option<String>,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TerminalOptions {
    /// Only failures and the summary.
    pub is_quiet: bool,
    /// Steps also of attempts that run beside others.
    pub is_verbose: bool,
    /// How the log viewer folds what belongs together.
    pub groups: Groups,
    /// Lines of the terminal.
    pub rows: usize,
}

/// How a log viewer folds lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Groups {
    /// It does not.
    #[default]
    None,
    /// As GitHub's does.
    GitHub,
    /// As GitLab's does.
    GitLab,
}

/// An attempt that runs.
struct Running {
    test: Test,
    number: u32,
    journal: Journal,
    read: Cursor,
    began: Instant,
    /// What it does at the moment.
    doing: String,
    steps: Vec<String>,
    /// Whether it was said that it is slow.
    is_slow: bool,
}

impl<W: Write> Terminal<W> {
    /// A report to `out`.
    pub fn new(out: W, look: Look, options: TerminalOptions) -> Self {
        Self {
            out,
            look,
            options,
            plan: None,
            running: Vec::new(),
            live_lines: 0,
            ticks: 0,
            began: Instant::now(),
            ended: BTreeMap::new(),
            failures: Vec::new(),
            fallback: None,
        }
    }

    /// Follows the run until its last event.
    ///
    /// # Errors
    /// The writer fails.
    pub async fn follow(&mut self, events: &mut mpsc::UnboundedReceiver<RunEvent>) -> std::io::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = tick.tick() => {
                    self.read_journals()?;
                    self.draw_live()?;
                    self.out.flush()?;
                }
                event = events.recv() => match event {
                    Some(event) => self.handle_event(event)?,
                    None => {
                        self.clear_live()?;
                        return self.out.flush();
                    }
                }
            }
        }
    }

    /// Writes what became of the run. The last line is `N passed, N failed, N skipped`.
    ///
    /// # Errors
    /// The writer fails.
    pub fn summarize(&mut self, summary: &Summary) -> std::io::Result<()> {
        let flaky = summary.count(&[Verdict::Flaky]);
        let lane_failed = summary.count(&[Verdict::LaneFailed]);
        let cancelled = summary.count(&[Verdict::Cancelled]);
        if summary.verdicts.len() > FAR && !self.failures.is_empty() {
            self.line(&self.look.paint(Tone::Bad, "failures:"))?;
            for failure in std::mem::take(&mut self.failures) {
                self.line(&failure)?;
            }
        }
        if lane_failed > 0 {
            let are = if lane_failed == 1 { "is" } else { "are" };
            let text = format!(
                "{lane_failed} of the failures {are} the machine's or the host's, not the scenario's"
            );
            self.line(&self.look.paint(Tone::Warn, text))?;
        }
        if flaky > 0 {
            let fails = if summary.fail_on_flaky { ", which fails this run" } else { "" };
            let text = format!("{flaky} flaky: passed, but not at the first attempt{fails}");
            self.line(&self.look.paint(Tone::Warn, text))?;
        }
        if summary.not_loaded > 0 {
            let scripts = if summary.not_loaded == 1 { "script" } else { "scripts" };
            let text = format!("{} {scripts} did not load", summary.not_loaded);
            self.line(&self.look.paint(Tone::Bad, text))?;
        }
        if let Some(why) = &summary.disk_failure {
            self.line(&self.look.paint(Tone::Bad, printable(why)))?;
        }
        if cancelled > 0 {
            let why = match summary {
                Summary { deadline_passed: true, .. } => "the run's deadline passed",
                Summary { failed_fast: true, .. } => "the run stops at the first failure",
                Summary { disk_failure: Some(_), .. } => "nothing can be kept of them",
                _ => "the run was interrupted",
            };
            self.line(&self.look.paint(Tone::Warn, format!("{cancelled} not finished: {why}")))?;
        }
        if let Some(folder) = &summary.folder {
            let text = format!("{:.1} s, everything is in {}", summary.took.as_secs_f64(), folder.display());
            self.line(&self.look.paint(Tone::Faint, text))?;
        }
        // No colour here: other programs read this line.
        let not_loaded = std::iter::repeat_n(Outcome::NotLoaded, summary.not_loaded);
        let outcomes = summary.verdicts.iter().map(|verdict| Outcome::Verdict(*verdict));
        self.line(&Counts::of(outcomes.chain(not_loaded)).line())?;
        self.out.flush()
    }

    fn handle_event(&mut self, event: RunEvent) -> std::io::Result<()> {
        match event {
            RunEvent::Began(plan) => {
                self.run_began(&plan)?;
                self.plan = Some(*plan);
                self.out.flush()
            }
            RunEvent::NotLoaded(failed) => self.not_loaded(&failed),
            RunEvent::AttemptBegan { test, number, journal } => self.attempt_began(test, number, journal),
            RunEvent::AttemptEnded(report) => {
                self.read_journals()?;
                self.running.retain(|it| !(it.test.id == report.test.id && it.number == report.number));
                self.attempt_ended(&report)
            }
        }
    }

    fn run_began(&mut self, plan: &RunPlan) -> std::io::Result<()> {
        if plan.is_narrowed {
            let text = "only scenarios that are marked with `only` run";
            self.line(&self.look.paint(Tone::Warn, text))?;
        }
        if self.options.is_quiet {
            return Ok(());
        }
        if let (0, Some((shard, list))) = (plan.total, plan.shard) {
            let (index, total) = (shard.index, shard.total);
            return self.line(&format!("part {index} of {total} has none of the {list} selected tests"));
        }
        let noun = if plan.total == 1 { "scenario" } else { "scenarios" };
        let lanes = if plan.lanes.len() == 1 { "lane" } else { "lanes" };
        let names = self.look.paint(Tone::Strong, plan.lanes.join(", "));
        let jobs = if plan.jobs > 1 { format!(", up to {} at once", plan.jobs) } else { String::new() };
        let folder = self.look.paint(Tone::Faint, format!("({})", plan.folder.display()));
        let part = plan.shard.map_or_else(String::new, |(shard, list)| {
            format!(", part {} of {} of a list of {list}", shard.index, shard.total)
        });
        self.line(&format!("{} {noun} on {lanes} {names}{jobs}{part} {folder}", plan.total))
    }

    fn not_loaded(&mut self, FailedScript { script, error, .. }: &FailedScript) -> std::io::Result<()> {
        let head = self.look.paint(Tone::Bad, "ERROR");
        let text = match error {
            LoadError::Script(failure) => render(failure, script.as_ref(), None, 6, self.look),
            LoadError::Read { path, source } => format!("      {path}: {source}\n"),
        };
        self.line(&format!("{head} a script does not load"))?;
        self.block(&text)
    }

    fn attempt_began(&mut self, test: Test, number: u32, journal: Journal) -> std::io::Result<()> {
        if !self.options.is_quiet && (!self.is_parallel() || self.options.is_verbose) {
            let title = printable(&test.title());
            let place = self.look.paint(Tone::Faint, format!("({})", test.scenario.place));
            let group = match self.options.groups {
                _ if self.is_parallel() => "",
                Groups::None => "",
                Groups::GitHub => "::group::",
                Groups::GitLab => "\x1b[0Ksection_start:0:attempt[collapsed=true]\r\x1b[0K",
            };
            self.line(&format!("{group}RUN   {title}{} {place}", attempt_text(number)))?;
        }
        let began = Instant::now();
        let doing = "preparing the lane".to_owned();
        let steps = Vec::new();
        let read = Cursor::default();
        self.running.push(Running { test, number, journal, read, began, doing, steps, is_slow: false });
        Ok(())
    }

    fn attempt_ended(&mut self, report: &AttemptReport) -> std::io::Result<()> {
        if !self.options.is_quiet && !self.is_parallel() {
            match self.options.groups {
                Groups::None => {}
                Groups::GitHub => self.line("::endgroup::")?,
                Groups::GitLab => self.line("\x1b[0Ksection_end:0:attempt\r\x1b[0K")?,
            }
        }
        let (tone, word) = word(report.outcome.unwrap_or(report.note.verdict));
        if let Some(verdict) = report.outcome {
            *self.ended.entry(verdict).or_default() += 1;
        }
        let is_quiet = self.options.is_quiet && report.note.verdict.is_fine();
        if is_quiet && report.outcome != Some(Verdict::Flaky) {
            return Ok(());
        }
        let title = printable(&report.test.title());
        let slow = if report.is_slow { ", slow" } else { "" };
        let tries = match (report.outcome, report.number) {
            (Some(_), 1) => String::new(),
            (Some(_), number) => format!(", {number} attempts"),
            (None, number) => format!(", attempt {number}, trying again"),
        };
        let lane = match &self.plan {
            Some(plan) if plan.lanes.len() > 1 => format!(" on {}", report.test.lane()),
            _ => String::new(),
        };
        let took = format!("{:.1} s{lane}{tries}{slow}", report.took.as_secs_f64());
        self.line(&format!(
            "{} {title} {}",
            self.look.paint(tone, word),
            self.look.paint(Tone::Faint, took)
        ))?;
        for warning in &report.note.warnings {
            let text = printable(&format!("warning: {warning}"));
            self.line(&format!("      {}", self.look.paint(Tone::Warn, text)))?;
        }
        let Some(failure) = &report.failure else { return Ok(()) };
        if report.note.verdict == Verdict::Skipped {
            return self.line(&format!("      {}", printable(&failure.message)));
        }
        self.block(&render(failure, Some(&report.test.script), Some(&report.folder), 6, self.look))?;
        if report.note.further_misses > 0 {
            self.line(&format!("      {}", super::failure::further_misses(report.note.further_misses)))?;
        }
        for note in &report.note.host_notes {
            self.line(&format!("      {} {note}", self.look.paint(Tone::Warn, "note:")))?;
        }
        if report.outcome.is_some_and(|verdict| !verdict.is_fine()) {
            self.remember_failure(word, &title, report);
        }
        self.line(&format!("      logs: {}", report.folder.display()))
    }

    fn remember_failure(&mut self, word: &str, title: &str, report: &AttemptReport) {
        if report.note.verdict == Verdict::Cancelled {
            return;
        }
        let place = report.failure.as_ref().and_then(|failure| failure.place.as_ref());
        let place = place.unwrap_or(&report.test.scenario.place);
        let reason = report.failure.as_ref().and_then(|failure| failure.message.lines().next());
        let reason = printable(reason.unwrap_or_default());
        self.failures.push(format!("  {word} {title} ({place}): {reason}"));
    }

    fn is_parallel(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.jobs > 1)
    }

    /// Takes over what was noted since the last look.
    fn read_journals(&mut self) -> std::io::Result<()> {
        let mut all = std::mem::take(&mut self.running);
        let slow_after = self.plan.as_ref().map_or(Duration::MAX, |plan| plan.slow_after);
        let is_parallel = self.is_parallel();
        for running in &mut all {
            for event in running.journal.all_after(running.read) {
                running.read = Cursor(event.seq);
                self.say_fallback(&event)?;
                let Some(line) = running.take(&event, self.look).filter(|_| !self.options.is_quiet) else {
                    continue;
                };
                match is_parallel {
                    false => self.line(&line)?,
                    true if self.options.is_verbose => {
                        let whose = self.look.paint(Tone::Faint, printable(&running.test.title()));
                        self.line(&format!("{line} {whose}"))?;
                    }
                    true => {}
                }
            }
            if !running.is_slow && running.began.elapsed() >= slow_after {
                running.is_slow = true;
                let (title, doing) = (printable(&running.test.title()), printable(&running.what()));
                let seconds = slow_after.as_secs_f64();
                self.line(&format!(
                    "{} {title}: {doing}, after {seconds:.0} s",
                    self.look.paint(Tone::Warn, "SLOW ")
                ))?;
            }
        }
        self.running = all;
        Ok(())
    }

    /// KVM was asked for and is not there: everything takes longer than people expect.
    fn say_fallback(&mut self, event: &Event) -> std::io::Result<()> {
        let Body::Acceleration { requested, resolved, why } = &event.body else { return Ok(()) };
        let is_known = self.fallback.as_ref() == Some(why);
        if requested != "auto" || resolved != "tcg" || self.options.is_quiet || is_known {
            return Ok(());
        }
        self.fallback = Some(why.clone());
        let text = printable(&format!("running under TCG: {why}"));
        self.line(&format!("      {}", self.look.paint(Tone::Warn, text)))
    }

    fn draw_live(&mut self) -> std::io::Result<()> {
        if !self.look.live || self.options.is_quiet || self.running.is_empty() {
            return Ok(());
        }
        self.ticks += 1;
        let lines = self.live_table();
        self.clear_live()?;
        for (index, line) in lines.iter().enumerate() {
            let cut = cut(line, self.look.width.saturating_sub(1));
            let newline = if index == 0 { "" } else { "\n" };
            write!(self.out, "{newline}{cut}")?;
        }
        self.live_lines = lines.len();
        self.out.flush()
    }

    /// A line for each attempt that runs; of several, how far the run has come before them.
    fn live_table(&self) -> Vec<String> {
        let spinner = SPINNER[self.ticks % SPINNER.len()];
        if !self.is_parallel() {
            return self
                .running
                .iter()
                .map(|running| format!("{spinner} {}", running.live_line(None)))
                .collect();
        }
        let total = self.plan.as_ref().map_or(0, |plan| plan.total);
        let done: usize = self.ended.values().sum();
        let bad: usize =
            self.ended.iter().filter(|(verdict, _)| !verdict.is_fine()).map(|(_, count)| count).sum();
        let running = self.running.len();
        let waiting = total.saturating_sub(done + running);
        let failed = if bad > 0 { format!(", {bad} failed") } else { String::new() };
        let elapsed = self.began.elapsed().as_secs_f64();
        let head = format!(
            "{spinner} {elapsed:5.1} s  {done} of {total} done{failed}, {running} running, {waiting} waiting"
        );
        let most = self.options.rows.saturating_sub(4).clamp(1, LIVE_LINES);
        let width = self.running.iter().map(|it| it.test.lane().chars().count()).max().unwrap_or(0);
        let mut lines = vec![head];
        lines.extend(self.running.iter().take(most).map(|it| format!("  {}", it.live_line(Some(width)))));
        if running > most {
            lines.push(format!("  and {} more", running - most));
        }
        lines
    }

    fn clear_live(&mut self) -> std::io::Result<()> {
        match std::mem::take(&mut self.live_lines) {
            0 => Ok(()),
            1 => write!(self.out, "\r\x1b[2K"),
            lines => write!(self.out, "\r\x1b[{}A\x1b[J", lines - 1),
        }
    }

    fn line(&mut self, line: &str) -> std::io::Result<()> {
        self.block(&format!("{line}\n"))
    }

    fn block(&mut self, block: &str) -> std::io::Result<()> {
        self.clear_live()?;
        write!(self.out, "{block}")?;
        // Where many end at once the next tick flushes.
        if self.is_parallel() { Ok(()) } else { self.out.flush() }
    }
}

/// As much of a line as fits into so many columns: one that wraps would be two to the cursor.
fn cut(line: &str, columns: usize) -> &str {
    let mut used = 0;
    let end = line.char_indices().find(|(_, char)| {
        used += char.width().unwrap_or(0);
        used > columns
    });
    end.map_or(line, |(index, _)| &line[..index])
}

/// How a verdict is said in five letters.
fn word(verdict: Verdict) -> (Tone, &'static str) {
    match verdict {
        Verdict::Passed => (Tone::Good, "PASS "),
        Verdict::Flaky => (Tone::Warn, "FLAKY"),
        Verdict::Failed | Verdict::TimedOut => (Tone::Bad, "FAIL "),
        Verdict::Error => (Tone::Bad, "ERROR"),
        Verdict::LaneFailed => (Tone::Bad, "LANE "),
        Verdict::Skipped => (Tone::Warn, "SKIP "),
        Verdict::Cancelled => (Tone::Warn, "STOP "),
        Verdict::Bug => (Tone::Bad, "BUG  "),
    }
}

fn attempt_text(number: u32) -> String {
    if number == 1 { String::new() } else { format!(", attempt {number}") }
}

impl Running {
    /// The step and what it does.
    fn what(&self) -> String {
        let steps: String = self.steps.iter().map(|step| format!("{step} › ")).collect();
        format!("{steps}{}", self.doing)
    }

    /// With the lane's name in a column of this width, where there are several lanes at once.
    fn live_line(&self, lane_width: Option<usize>) -> String {
        let elapsed = self.began.elapsed().as_secs_f64();
        let lane = lane_width.map_or_else(String::new, |width| format!("{:width$}  ", self.test.lane()));
        let attempt = attempt_text(self.number);
        printable(&format!("{elapsed:5.1} s  {lane}{}{attempt} › {}", self.test.title(), self.what()))
    }

    /// Follows one event; returns the line that stays of it, if any.
    fn take(&mut self, event: &Event, look: Look) -> Option<String> {
        match &event.body {
            Body::Acceleration { resolved, .. } => {
                self.doing = format!("starting QEMU ({resolved})");
                None
            }
            Body::LaneState { state, detail } => {
                match (state.as_str(), detail) {
                    ("starting", _) => self.doing = "starting QEMU".to_owned(),
                    ("waiting", Some(gate)) => self.doing = format!("waiting for {gate}"),
                    _ => {}
                }
                (state == "ready").then(|| {
                    let at = event.at().as_secs_f64();
                    self.doing = "running".to_owned();
                    let whose = event.lane.as_ref().map(|lane| format!(" {lane}")).unwrap_or_default();
                    let how = detail.as_ref().map(|how| format!(", {how}")).unwrap_or_default();
                    let text = format!("{at:6.1} s  lane{whose} is ready{how}");
                    format!("      {}", look.paint(Tone::Faint, text))
                })
            }
            Body::Gate { gate, .. } => {
                self.doing = format!("passed gate {gate}");
                None
            }
            Body::StepBegan { path, .. } => {
                self.steps.clone_from(path);
                self.doing = "running".to_owned();
                None
            }
            Body::StepEnded { path, passed, took_ms } => {
                self.steps.pop();
                let at = event.at().as_secs_f64();
                let indent = "  ".repeat(path.len().saturating_sub(1));
                let name = printable(path.last().map_or("", String::as_str));
                let took = Duration::from_millis(*took_ms).as_secs_f64();
                let mark = if *passed { "" } else { " ✗" };
                Some(format!(
                    "      {at:6.1} s  {indent}{name}{mark} {}",
                    look.paint(Tone::Faint, format!("{took:.1} s"))
                ))
            }
            Body::WaitBegan { call, wanted, timeout_s, .. } => {
                self.doing = format!("{call} {wanted} (up to {timeout_s:.0} s)");
                None
            }
            Body::WaitEnded { .. } => {
                self.doing = "running".to_owned();
                None
            }
            Body::Log { message } => {
                let at = event.at().as_secs_f64();
                Some(format!("      {at:6.1} s  {}", printable(message)))
            }
            _ => None,
        }
    }
}

const TICK: Duration = Duration::from_millis(100);
const SPINNER: [char; 8] = ['⣾', '⣽', '⣻', '⢿', '⡿', '⣟', '⣯', '⣷'];
/// With more tests than this a failure may have scrolled away.
const FAR: usize = 8;
/// More are too much to look at.
const LIVE_LINES: usize = 16;

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_line_is_cut_where_the_terminal_would_wrap_it() {
        for (line, columns, wanted) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "abc"),
            ("起動する", 5, "起動"),
            ("起動", 4, "起動"),
            ("", 0, ""),
            ("a", 0, ""),
        ] {
            assert_eq!(cut(line, columns), wanted, "{line:?} in {columns}");
        }
    }
}
