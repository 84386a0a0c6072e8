//! `backstaff run`.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::args::{ColorChoice, RunCommand};
use super::exit::ExitCode;
use super::repl::Prompt;
use super::report::{ReportError, check_stdout, write_all};
use super::select::{Selected, is_ci};
use crate::journal::run::Shard;
use crate::lane::AttachEnvironment;
use crate::repl::{Interrupts, Served};
use crate::report::style::{Look, Tone};
use crate::report::terminal::{Groups, Terminal, TerminalOptions};
use crate::report::{ReportTarget, source};
use crate::runner::{
    self, DiscoveryError, ProjectError, RecordConfig, Repeat, RunError, RunOptions, Summary,
};
use crate::spice::RecorderOptions;

/// Runs scenarios and reports to stdout.
pub(super) fn run(command: RunCommand, color: ColorChoice, is_verbose: bool) -> ExitCode {
    let look = look(color);
    let terminal =
        TerminalOptions { is_quiet: command.quiet, is_verbose, groups: groups(), rows: terminal_rows() };
    let mut reports = Reports { targets: command.report.clone(), is_on_github: is_set("GITHUB_ACTIONS") };
    if let Err(error) = check_stdout(&reports.targets) {
        return error.say(look);
    }
    let holds = command.hold;
    let (mut options, prompt) = match options(command, look).and_then(|options| {
        let prompt = holds.then(|| super::repl::for_hold(&options.artifacts, look)).transpose()?;
        Ok((options, prompt))
    }) {
        Ok(both) => both,
        Err(refusal) => return refusal.say(look),
    };
    if prompt.is_some() {
        // Who sits at a prompt inside of one test cannot look after another.
        options.jobs = Some(1);
    }
    let runtime = match runtime(look) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let code = runtime.block_on(run_and_report(options, look, terminal, &mut reports, prompt));
    // A script that is stuck in a single call keeps its thread; waiting for it would hang the exit.
    runtime.shutdown_background();
    code
}

/// Starts what tasks run on, or says why it cannot.
pub(super) fn runtime(look: Look) -> Result<Runtime, ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        complain(look, &format!("cannot start the runtime: {error}"), None);
        ExitCode::LANE_FAILED
    })
}

/// As [`watch_signals`], and says why it cannot.
pub(super) fn signals(
    cancel: &CancellationToken,
    look: Look,
    last: impl Fn() + Clone + Send + 'static,
) -> Result<Received, ExitCode> {
    signals_with(cancel, look, last, &Interrupts::default())
}

/// The same beside a prompt, which has Ctrl-C for itself while it is open.
pub(super) fn signals_with(
    cancel: &CancellationToken,
    look: Look,
    last: impl Fn() + Clone + Send + 'static,
    interrupts: &Interrupts,
) -> Result<Received, ExitCode> {
    watch_signals(cancel, look, last, interrupts).map_err(|error| {
        complain(look, &format!("cannot watch for signals: {error}"), None);
        ExitCode::LANE_FAILED
    })
}

async fn run_and_report(
    mut options: RunOptions,
    look: Look,
    terminal: TerminalOptions,
    reports: &mut Reports,
    mut prompt: Option<Prompt>,
) -> ExitCode {
    let cancel = CancellationToken::new();
    let watched = match &prompt {
        Some(prompt) => signals_with(&cancel, look, prompt.repl.restorer(), &prompt.interrupts),
        None => signals(&cancel, look, || {}),
    };
    let received = match watched {
        Ok(received) => received,
        Err(code) => return code,
    };
    options.signal = Arc::clone(&received.0);
    let (sender, mut events) = mpsc::unbounded_channel();
    let held = prompt.is_some().then(|| mpsc::channel(1));
    let (prompts, held) = held.unzip();
    options.prompts = prompts;
    let run = {
        let cancel = cancel.clone();
        async move {
            let sender = sender;
            runner::run(options, &sender, &cancel).await
        }
    };
    // A report on standard output has it for itself.
    let out: Box<dyn std::io::Write + Send> = match reports.targets.iter().any(ReportTarget::is_stdout) {
        true => Box::new(anstream::stderr()),
        false => Box::new(anstream::stdout()),
    };
    let (out, look) = match &prompt {
        // What is said while somebody types stands above their line, and no line is drawn over and over.
        Some(prompt) => {
            (Box::new(prompt.repl.writer()) as Box<dyn std::io::Write + Send>, Look { live: false, ..look })
        }
        None => (out, look),
    };
    let mut terminal = Terminal::new(std::io::BufWriter::new(out), look, terminal);
    let serve = async {
        match (&mut prompt, held) {
            (Some(prompt), Some(held)) => prompt.repl.serve(held, &cancel).await,
            _ => Served::default(),
        }
    };
    let (result, written, served) = tokio::join!(run, terminal.follow(&mut events), serve);
    let summary = match result {
        Ok(summary) => summary,
        Err(error) => return Refusal::from(error).say(look),
    };
    let reported = reports.write(&summary, look);
    // A reader that went away, as `| head` does, must not turn a verdict into a crash.
    if let Err(error) = written.and_then(|()| terminal.summarize(&summary))
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        complain(look, &format!("the report cannot be written: {error}"), None);
    }
    if summary.listed == 0 && summary.not_loaded == 0 {
        nothing_ran(look, summary.declared);
    }
    let code = ExitCode::of(&summary, received.number());
    // Who leaves at a prompt leaves something that has failed, however far its verdict came.
    let code = if served.is_left { code.graver(ExitCode::FAILED) } else { code };
    // A report that is missing is no pass.
    reported.map_or_else(|missing| code.graver(missing), |()| code)
}

/// What is written of a run when it has ended.
struct Reports {
    targets: Vec<ReportTarget>,
    is_on_github: bool,
}

impl Reports {
    fn write(&mut self, summary: &Summary, look: Look) -> Result<(), ExitCode> {
        let Some(folder) = &summary.folder else { return Ok(()) };
        let is_fine = summary.verdicts.iter().all(|verdict| verdict.is_fine());
        // Where nobody can ask again, the page of a failure is kept beside it.
        if is_ci() && !is_fine && !self.targets.iter().any(|target| target.kind() == "html") {
            self.targets.extend(ReportTarget::new("html", &folder.join("trace.html")));
        }
        if self.targets.is_empty() && !self.is_on_github {
            return Ok(());
        }
        let written = source::load(folder)
            .map_err(ReportError::from)
            .and_then(|run| write_all(&run, &self.targets, self.is_on_github));
        written.map_err(|error| error.say(look))
    }
}

pub(super) fn nothing_ran(look: Look, declared: usize) {
    if declared == 0 {
        let hint =
            "a script declares them at its top level: `scenario(\"what it promises\", function(t) … end)`";
        return complain(look, "no script declares a scenario", Some(hint));
    }
    let scenarios = if declared == 1 { "scenario" } else { "scenarios" };
    let message = format!("nothing was selected: the scripts declare {declared} {scenarios}");
    let hint = "`--filter` looks for text in names and files, `--tag` for a tag; `backstaff list` shows what there is";
    complain(look, &message, Some(hint));
}

fn options(command: RunCommand, look: Look) -> Result<RunOptions, Refusal> {
    let Selected { scripts, project, lane, selection, shard, shard_from, timings, working_dir } =
        command.select.resolve()?;
    if let (Some(shard), Some(variables)) = (shard, shard_from) {
        let Shard { index, total } = shard;
        say(look, &format!("part {index} of {total}, as {variables} say; `--shard 1/1` runs everything"));
    }
    let repeat = match (command.until_failure, command.repeat) {
        (true, most) => Repeat::UntilFailure(most),
        (false, None | Some(1)) => Repeat::Once,
        (false, Some(times)) => Repeat::Times(times),
    };
    Ok(RunOptions {
        scripts,
        session: None,
        prompts: None,
        project,
        lane,
        search_path: std::env::var_os("PATH").unwrap_or_default(),
        working_dir,
        selection,
        shard,
        timings,
        params: command.param.into_iter().map(|(key, value)| (key, value.into())).collect(),
        artifacts: command.select.artifacts,
        timeout: command.timeout,
        fail_fast: command.fail_fast,
        jobs: command.jobs,
        retries: command.retries,
        fail_on_flaky: command.fail_on_flaky,
        repeat,
        slow_after: command.slow,
        warm: command.warm.into(),
        attach: AttachEnvironment::collect(|name| std::env::var_os(name)),
        record: command.record.map(|file| {
            let options = RecorderOptions { keeps_agent_data: command.record_agent };
            RecordConfig { file, options }
        }),
        signal: Arc::default(),
    })
}

/// Folding is for logs that nobody writes to a terminal.
fn groups() -> Groups {
    match () {
        () if is_set("GITHUB_ACTIONS") => Groups::GitHub,
        () if is_set("GITLAB_CI") => Groups::GitLab,
        () => Groups::None,
    }
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

fn terminal_rows() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| usize::from(size.ws_row))
}

/// The signal that wants us to end, once there was one.
#[derive(Clone, Default)]
pub(super) struct Received(Arc<AtomicU8>);

impl Received {
    /// The number, for who wants to know it later.
    pub(super) fn shared(&self) -> Arc<AtomicU8> {
        Arc::clone(&self.0)
    }

    /// Its number.
    pub(super) fn number(&self) -> Option<u8> {
        Some(self.0.load(Ordering::Acquire)).filter(|&number| number != 0)
    }
}

/// First signal: let lanes be taken down and report what there is. Second: leave at once, after `last` was done; the
/// kernel then ends every QEMU of ours.
fn watch_signals(
    cancel: &CancellationToken,
    look: Look,
    last: impl Fn() + Clone + Send + 'static,
    interrupts: &Interrupts,
) -> std::io::Result<Received> {
    let received = Received::default();
    for (kind, number) in
        [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15), (SignalKind::hangup(), 1)]
    {
        let mut signals = signal(kind)?;
        let (cancel, received, last) = (cancel.clone(), received.clone(), last.clone());
        let interrupts = interrupts.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if kind == SignalKind::interrupt() && interrupts.take() {
                    continue;
                }
                if received.0.swap(number, Ordering::AcqRel) != 0 {
                    last();
                    std::process::exit(i32::from(ExitCode::signal(number).0));
                }
                complain(look, "interrupted: taking the lane down, once more to leave at once", None);
                cancel.cancel();
            }
        });
    }
    Ok(received)
}

/// Why a run did not begin.
pub(super) struct Refusal {
    code: ExitCode,
    message: String,
    hint: Option<String>,
}

impl Refusal {
    pub(super) fn usage(message: String) -> Self {
        Self { code: ExitCode::USAGE, message, hint: None }
    }

    /// There is nothing to run.
    pub(super) fn nothing(message: String) -> Self {
        Self { code: ExitCode::NOTHING, message, hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn say(self, look: Look) -> ExitCode {
        complain(look, &self.message, self.hint.as_deref());
        self.code
    }
}

impl From<DiscoveryError> for Refusal {
    fn from(error: DiscoveryError) -> Self {
        let hint = "scripts are files that end in `.lua`; name one, or a folder that holds some".to_owned();
        Self { code: ExitCode::USAGE, message: chain(&error), hint: Some(hint) }
    }
}

impl From<ProjectError> for Refusal {
    fn from(error: ProjectError) -> Self {
        Self { code: ExitCode::NOT_LOADED, message: chain(&error), hint: error.hint() }
    }
}

impl From<RunError> for Refusal {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Project(error) => error.into(),
            // The host's matter, as everything that a full disk does later.
            RunError::Folder { ref source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Self { code: ExitCode::LANE_FAILED, message: chain(&error), hint: None }
            }
            RunError::Folder { .. } => {
                let hint = "`--artifacts DIR` names a folder that may be written to".to_owned();
                Self { code: ExitCode::USAGE, message: chain(&error), hint: Some(hint) }
            }
        }
    }
}

/// `outer: inner: cause`.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// For people, beside what other programs read.
fn say(look: Look, message: &str) {
    use std::io::Write as _;
    let _ = writeln!(anstream::stderr(), "{} {message}", look.paint(Tone::Warn, "note:"));
}

pub(super) fn complain(look: Look, message: &str, hint: Option<&str>) {
    use std::io::Write as _;
    let mut err = anstream::stderr();
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(err, "{} {message}", look.paint(Tone::Bad, "error:"));
    if let Some(hint) = hint {
        let _ = writeln!(err, "{} {hint}", look.paint(Tone::Warn, "hint:"));
    }
}

/// Flag, then `NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR`, `TERM=dumb`, then whether stdout is a terminal.
pub(super) fn look(color: ColorChoice) -> Look {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    let is_terminal = std::io::stdout().is_terminal();
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let is_refused = std::env::var_os("CLICOLOR").is_some_and(|value| value == "0");
    let color = match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if is_set("NO_COLOR") => false,
        ColorChoice::Auto if is_set("CLICOLOR_FORCE") || is_set("FORCE_COLOR") => true,
        ColorChoice::Auto => is_terminal && !is_refused && !is_dumb,
    };
    match color {
        true => anstream::ColorChoice::Always.write_global(),
        false => anstream::ColorChoice::Never.write_global(),
    }
    let live = is_terminal && !is_dumb && !is_set("CI") && !is_set("NO_COLOR");
    let width = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width = width.or_else(|| {
        rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col))
    });
    Look { color, live, width: width.filter(|&columns| columns > 0).unwrap_or(80) }
}
