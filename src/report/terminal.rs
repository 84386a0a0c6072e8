//! What a person sees: a line that moves while a scenario runs, and the lines that stay. Piped, only those stay.

use std::io::Write;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::failure::{printable, render};
use super::style::{Look, Tone};
use crate::journal::{Body, Cursor, Event, Journal};
use crate::runner::{AttemptReport, RunEvent, Summary, Verdict};
use crate::script::{LoadError, Scenario};

/// Writes a run to `out` while it goes on.
pub struct Terminal<W> {
    out: W,
    look: Look,
    is_quiet: bool,
    running: Option<Running>,
    /// Whether the moving line is on the screen now.
    has_live_line: bool,
    ticks: usize,
    /// Why the lane is not accelerated, said once a run.
    fallback: Option<String>,
}

/// The scenario that runs now.
struct Running {
    scenario: Scenario,
    journal: Journal,
    read: Cursor,
    began: Instant,
    /// What it does at the moment.
    doing: String,
    steps: Vec<String>,
}

impl<W: Write> Terminal<W> {
    /// A report to `out`. A quiet one shows only failures and the summary.
    pub fn new(out: W, look: Look, is_quiet: bool) -> Self {
        Self { out, look, is_quiet, running: None, has_live_line: false, ticks: 0, fallback: None }
    }

    /// Follows the run until its last event.
    ///
    /// # Errors
    /// The writer fails.
    pub async fn follow(&mut self, events: &mut mpsc::UnboundedReceiver<RunEvent>) -> std::io::Result<()> {
        loop {
            match tokio::time::timeout(TICK, events.recv()).await {
                Ok(Some(event)) => self.handle_event(event)?,
                Ok(None) => return self.clear_live_line(),
                Err(_) => {
                    self.read_journal()?;
                    self.draw_live_line()?;
                }
            }
        }
    }

    /// Writes what became of the run. The last line is `N passed, N failed, N skipped`.
    ///
    /// # Errors
    /// The writer fails.
    pub fn summarize(&mut self, summary: &Summary) -> std::io::Result<()> {
        let passed = summary.count(&[Verdict::Passed]);
        let skipped = summary.count(&[Verdict::Skipped]);
        let lane_failed = summary.count(&[Verdict::LaneFailed]);
        let cancelled = summary.count(&[Verdict::Cancelled]);
        let failed = summary.verdicts.len() - passed - skipped - cancelled;
        if lane_failed > 0 {
            let are = if lane_failed == 1 { "is" } else { "are" };
            let text = format!(
                "{lane_failed} of the failures {are} the machine's or the host's, not the scenario's"
            );
            self.line(&self.look.paint(Tone::Warn, text))?;
        }
        if summary.not_loaded > 0 {
            let scripts = if summary.not_loaded == 1 { "script" } else { "scripts" };
            let text = format!("{} {scripts} did not load", summary.not_loaded);
            self.line(&self.look.paint(Tone::Bad, text))?;
        }
        if cancelled > 0 {
            let why = match summary {
                Summary { deadline_passed: true, .. } => "the run's deadline passed",
                Summary { failed_fast: true, .. } => "the run stops at the first failure",
                _ => "the run was interrupted",
            };
            self.line(&self.look.paint(Tone::Warn, format!("{cancelled} not finished: {why}")))?;
        }
        if let Some(folder) = &summary.folder {
            let text = format!("{:.1} s, everything is in {}", summary.took.as_secs_f64(), folder.display());
            self.line(&self.look.paint(Tone::Faint, text))?;
        }
        // No colour here: other programs read this line.
        self.line(&format!("{passed} passed, {failed} failed, {skipped} skipped"))
    }

    fn handle_event(&mut self, event: RunEvent) -> std::io::Result<()> {
        match event {
            RunEvent::Began { folder, total, lane } => {
                if self.is_quiet {
                    return Ok(());
                }
                let noun = if total == 1 { "scenario" } else { "scenarios" };
                self.line(&format!(
                    "{total} {noun} on lane {} {}",
                    self.look.paint(Tone::Strong, lane),
                    self.look.paint(Tone::Faint, format!("({})", folder.display()))
                ))
            }
            RunEvent::NotLoaded { script, error } => {
                let head = self.look.paint(Tone::Bad, "ERROR");
                let text = match &error {
                    LoadError::Script(failure) => render(failure, script.as_ref(), None, 6, self.look),
                    LoadError::Read { path, source } => format!("      {path}: {source}\n"),
                };
                self.line(&format!("{head} a script does not load"))?;
                self.block(&text)
            }
            RunEvent::AttemptBegan { scenario, journal } => {
                let running = Running {
                    scenario,
                    journal,
                    read: Cursor::default(),
                    began: Instant::now(),
                    doing: "preparing the lane".to_owned(),
                    steps: Vec::new(),
                };
                if !self.is_quiet {
                    let Scenario { name, place, .. } = &running.scenario;
                    self.line(&format!(
                        "RUN   {} {}",
                        printable(name),
                        self.look.paint(Tone::Faint, format!("({place})"))
                    ))?;
                }
                self.running = Some(running);
                self.draw_live_line()
            }
            RunEvent::AttemptEnded(report) => {
                self.read_journal()?;
                self.running = None;
                self.attempt_ended(&report)
            }
        }
    }

    fn attempt_ended(&mut self, report: &AttemptReport) -> std::io::Result<()> {
        let (tone, word) = match report.verdict {
            Verdict::Passed => (Tone::Good, "PASS "),
            Verdict::Flaky => (Tone::Warn, "FLAKY"),
            Verdict::Failed => (Tone::Bad, "FAIL "),
            Verdict::TimedOut => (Tone::Bad, "FAIL "),
            Verdict::Error => (Tone::Bad, "ERROR"),
            Verdict::LaneFailed => (Tone::Bad, "LANE "),
            Verdict::Skipped => (Tone::Warn, "SKIP "),
            Verdict::Cancelled => (Tone::Warn, "STOP "),
            Verdict::Bug => (Tone::Bad, "BUG  "),
        };
        if self.is_quiet && matches!(report.verdict, Verdict::Passed | Verdict::Skipped) {
            return Ok(());
        }
        self.line(&format!(
            "{} {} {}",
            self.look.paint(tone, word),
            printable(&report.scenario.name),
            self.look.paint(Tone::Faint, format!("{:.1} s", report.took.as_secs_f64()))
        ))?;
        let Some(failure) = &report.failure else { return Ok(()) };
        if report.verdict == Verdict::Skipped {
            return self.line(&format!("      {}", printable(&failure.message)));
        }
        self.block(&render(failure, Some(&report.script), Some(&report.folder), 6, self.look))?;
        if report.further_misses > 0 {
            self.line(&format!(
                "      and {} further expectations that did not hold",
                report.further_misses
            ))?;
        }
        self.line(&format!("      logs: {}", report.folder.display()))
    }

    /// Takes over what was noted since the last look.
    fn read_journal(&mut self) -> std::io::Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        for event in running.journal.all_after(running.read) {
            running.read = Cursor(event.seq);
            self.say_fallback(&event)?;
            if let Some(line) = running.take(&event, self.look)
                && !self.is_quiet
            {
                self.line(&line)?;
            }
        }
        self.running = Some(running);
        Ok(())
    }

    /// KVM was asked for and is not there: everything takes longer than people expect.
    fn say_fallback(&mut self, event: &Event) -> std::io::Result<()> {
        let Body::Acceleration { requested, resolved, why } = &event.body else { return Ok(()) };
        if requested != "auto" || resolved != "tcg" || self.is_quiet || self.fallback.as_ref() == Some(why) {
            return Ok(());
        }
        self.fallback = Some(why.clone());
        let text = printable(&format!("running under TCG: {why}"));
        self.line(&format!("      {}", self.look.paint(Tone::Warn, text)))
    }

    fn draw_live_line(&mut self) -> std::io::Result<()> {
        let Some(running) = self.running.as_ref().filter(|_| self.look.live && !self.is_quiet) else {
            return Ok(());
        };
        self.ticks += 1;
        let spinner = SPINNER[self.ticks % SPINNER.len()];
        let elapsed = running.began.elapsed().as_secs_f64();
        let steps: String = running.steps.iter().map(|step| format!(" › {step}")).collect();
        let text = printable(&format!(
            "{spinner} {elapsed:5.1} s  {}{steps}: {}",
            running.scenario.name, running.doing
        ));
        let cut: String = text.chars().take(self.look.width.saturating_sub(1)).collect();
        write!(self.out, "\r\x1b[2K{cut}")?;
        self.has_live_line = true;
        self.out.flush()
    }

    fn clear_live_line(&mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.has_live_line) {
            write!(self.out, "\r\x1b[2K")?;
        }
        self.out.flush()
    }

    fn line(&mut self, line: &str) -> std::io::Result<()> {
        self.clear_live_line()?;
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }

    fn block(&mut self, block: &str) -> std::io::Result<()> {
        self.clear_live_line()?;
        write!(self.out, "{block}")?;
        self.out.flush()
    }
}

impl Running {
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
                    let how = detail.as_ref().map(|how| format!(", {how}")).unwrap_or_default();
                    format!("      {}", look.paint(Tone::Faint, format!("{at:6.1} s  lane is ready{how}")))
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
