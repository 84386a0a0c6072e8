//! `backstaff repl`, and the prompt of `backstaff run --hold`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::args::{ColorChoice, WarmChoice, parse_param};
use super::exit::ExitCode;
use super::run::{Refusal, look, runtime, signals, signals_with};
use super::select::is_ci;
use crate::journal::run::Timings;
use crate::journal::{Cursor, Journal};
use crate::lane::AttachEnvironment;
use crate::repl::{Interrupts, Repl, ReplOptions, ScreenWriter, Served, Way};
use crate::report::failure::render;
use crate::report::lane::progress;
use crate::report::style::Look;
use crate::runner::{self, Project, Repeat, RunEvent, RunOptions, Selection};
use crate::script::{FailureKind, Script};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Piped, it reads lines without an editor and prints plain results.\n\nExit codes: 0 somebody left, 1 a \
line that was piped failed, 2 usage, 3 a profile does not load, 16 the lane did not come up.\n\nExamples:\n  backstaff \
repl\n  backstaff repl scenarios/canonical.lua --lane sextant\n  echo 'digest:wait_for(any)' | backstaff repl"
)]
pub(super) struct ReplCommand {
    /// A script whose scenarios `:run` can play.
    #[arg(value_name = "SCENARIO.lua")]
    script: Option<PathBuf>,
    /// The lane [default: the project's, or the simulated one, which needs nothing installed].
    #[arg(long, value_name = "NAME", env = "BACKSTAFF_LANE")]
    lane: Option<String>,
    /// A further folder with lane profiles, searched first.
    #[arg(long, value_name = "DIR")]
    lane_dir: Vec<PathBuf>,
    /// A parameter, in scripts `t.params.KEY`.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_param)]
    param: Vec<(String, String)>,
    /// Whether the machine may start as it was saved when it was ready.
    #[arg(long, value_name = "WHEN", default_value = "auto", env = "BACKSTAFF_WARM")]
    warm: WarmChoice,
    /// Where the session's folder is made, and what was typed is kept.
    #[arg(long, value_name = "DIR", default_value = "logs", env = "BACKSTAFF_ARTIFACTS")]
    artifacts: PathBuf,
}

/// A prompt, and who tells it of Ctrl-C.
pub(super) struct Prompt {
    pub(super) repl: Repl,
    pub(super) interrupts: Interrupts,
}

/// Opens a prompt on a lane.
pub(super) fn run(command: ReplCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let is_piped = !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal();
    let prepared = options(&command).and_then(|options| {
        let prompt = match is_piped {
            true => Ok(piped(&command, look)),
            false => on_terminal("`backstaff repl`", &command.artifacts, command.script.clone(), look),
        };
        Ok((options, prompt?))
    });
    let (options, prompt) = match prepared {
        Ok(prepared) => prepared,
        Err(refusal) => return refusal.say(look),
    };
    let runtime = match runtime(look) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let code = runtime.block_on(serve(options, prompt, look, is_piped));
    // The editor's thread, and a script that is stuck, would keep us.
    runtime.shutdown_background();
    code
}

/// The prompt of a run that holds what fails.
pub(super) fn for_hold(artifacts: &Path, look: Look) -> Result<Prompt, Refusal> {
    on_terminal("--hold", artifacts, None, look)
}

/// A prompt for a person, or why there is none.
fn on_terminal(what: &str, artifacts: &Path, source: Option<PathBuf>, look: Look) -> Result<Prompt, Refusal> {
    if is_ci() {
        let hint = "CI is set, so nobody is asked anything; unset it, or run without a prompt";
        return Err(Refusal::usage(format!("{what} wants somebody at a terminal")).hint(hint));
    }
    for (is_terminal, stream) in
        [(std::io::stdin().is_terminal(), "input"), (std::io::stdout().is_terminal(), "output")]
    {
        if !is_terminal {
            let message = format!("{what} wants a terminal, and standard {stream} is none");
            return Err(
                Refusal::usage(message).hint("without a terminal, the trace of a run says what was seen")
            );
        }
    }
    let interrupts = Interrupts::default();
    let options = repl_options(Some(artifacts.join(HISTORY)), source, look, &interrupts);
    match Repl::on_terminal(options) {
        Ok(repl) => Ok(Prompt { repl, interrupts }),
        Err(why) => Err(Refusal::usage(format!("{what} cannot use this terminal: {why}"))),
    }
}

fn piped(command: &ReplCommand, look: Look) -> Prompt {
    let interrupts = Interrupts::default();
    let options = repl_options(None, command.script.clone(), look, &interrupts);
    let lines = std::io::BufReader::new(std::io::stdin());
    Prompt { repl: Repl::piped(options, Box::new(lines), Box::new(std::io::stdout())), interrupts }
}

fn repl_options(
    history: Option<PathBuf>,
    source: Option<PathBuf>,
    look: Look,
    interrupts: &Interrupts,
) -> ReplOptions {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let way = Way::of(|name| std::env::var(name).ok());
    ReplOptions { look, columns, history, way, interrupts: interrupts.clone(), source }
}

fn options(command: &ReplCommand) -> Result<RunOptions, Refusal> {
    let working_dir =
        std::env::current_dir().map_err(|error| Refusal::usage(format!("no working directory: {error}")))?;
    if let Some(script) = command.script.as_deref().filter(|script| !script.is_file()) {
        let why = if script.is_dir() { "is a folder" } else { "is not there" };
        return Err(
            Refusal::usage(format!("{} {why}", script.display())).hint("name a script, such as `login.lua`")
        );
    }
    let project = match &command.script {
        Some(script) => Project::find(script, &command.lane_dir, &working_dir)?,
        None => Project::find_here(&command.lane_dir, &working_dir)?,
    };
    let lane = project.lane(command.lane.clone());
    Ok(RunOptions {
        scripts: Vec::new(),
        session: Some(Script { path: "prompt".into(), source: SESSION.into() }),
        prompts: None,
        project,
        lane,
        search_path: std::env::var_os("PATH").unwrap_or_default(),
        working_dir,
        selection: Selection::default(),
        shard: None,
        timings: Timings::default(),
        params: command.param.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect(),
        artifacts: command.artifacts.clone(),
        timeout: None,
        fail_fast: false,
        jobs: Some(1),
        retries: 0,
        fail_on_flaky: false,
        repeat: Repeat::Once,
        slow_after: std::time::Duration::MAX,
        warm: command.warm.into(),
        attach: AttachEnvironment::collect(|name| std::env::var_os(name)),
        record: None,
        signal: Arc::default(),
    })
}

async fn serve(mut options: RunOptions, prompt: Prompt, look: Look, is_piped: bool) -> ExitCode {
    let Prompt { mut repl, interrupts } = prompt;
    let cancel = CancellationToken::new();
    let watched = match is_piped {
        true => signals(&cancel, look, || {}),
        false => signals_with(&cancel, look, repl.restorer(), &interrupts),
    };
    let received = match watched {
        Ok(received) => received,
        Err(code) => return code,
    };
    options.signal = received.shared();
    let (sender, events) = mpsc::unbounded_channel();
    let (prompts, held) = mpsc::channel(1);
    options.prompts = Some(prompts);
    let telling = follow(events, repl.writer(), look, is_piped);
    let run = {
        let cancel = cancel.clone();
        async move {
            let sender = sender;
            runner::run(options, &sender, &cancel).await
        }
    };
    let (result, (), served) = tokio::join!(run, telling, repl.serve(held, &cancel));
    let summary = match result {
        Ok(summary) => summary,
        Err(error) => return Refusal::from(error).say(look),
    };
    match (received.number(), served) {
        (Some(number), _) => ExitCode::signal(number),
        (None, Served { was_open: false, .. }) => ExitCode::of(&summary, None),
        (None, Served { has_failed: true, .. }) if is_piped => ExitCode::FAILED,
        (None, _) => ExitCode::PASSED,
    }
}

/// Says how the lane comes up, and why the session ended when nobody wanted it to.
async fn follow(
    mut events: mpsc::UnboundedReceiver<RunEvent>,
    mut out: ScreenWriter,
    look: Look,
    is_piped: bool,
) {
    use std::io::Write as _;
    let mut telling = None;
    while let Some(event) = events.recv().await {
        let text = match event {
            RunEvent::AttemptBegan { journal, .. } if !is_piped => {
                let lines = tell(journal, look);
                telling = Some(tokio_util::task::AbortOnDropHandle::new(tokio::spawn(lines)));
                continue;
            }
            RunEvent::AttemptEnded(report) => {
                telling = None;
                let is_worth_it = |kind| {
                    !matches!(kind, FailureKind::Cancelled | FailureKind::Skip | FailureKind::Expectation)
                };
                match report.failure.as_ref().filter(|failure| is_worth_it(failure.kind)) {
                    Some(failure) => render(failure, None, Some(&report.folder), 0, look),
                    None => continue,
                }
            }
            _ => continue,
        };
        // What cannot be said to a terminal that is gone is lost.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
    drop(telling);
}

/// What the lane waits for until it is up.
async fn tell(journal: Journal, look: Look) {
    let mut read = Cursor::default();
    let mut newest = journal.watch();
    loop {
        for event in journal.all_after(read) {
            read = Cursor(event.seq);
            if let Some(line) = progress(&event, look) {
                let _ = super::lane::up::say(&line);
            }
        }
        if newest.changed().await.is_err() {
            return;
        }
    }
}

/// The scenario of a session: it stands still until somebody leaves.
const SESSION: &str = "scenario(\"prompt\", { timeout = 1e8 }, function(t) t:hold() end)\n";
/// Below the artifacts.
const HISTORY: &str = "repl-history";
