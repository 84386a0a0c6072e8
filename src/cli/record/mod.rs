//! `backstaff record`: writes a scenario while a person uses the console.
//!
//! Keys come from the terminal that this runs in and from clients of a control socket; both are put on a [`tape`] with
//! what the journal had seen by then. When it is over, [`crate::report::recorded`] makes a scenario of the tape and the
//! journal. [`terminal`] knows what bytes a terminal sends for a key.

mod tape;
mod terminal;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::args::ColorChoice;
use super::exit::ExitCode;
use super::lane::up::{new_folder, wait};
use super::run::{Refusal, chain, complain, look, runtime, signals};
use crate::console::served::ServedConsole;
use crate::console::{Console, ConsoleListener, Scancode, Screenshot, typing};
use crate::control::server::{ControlServer, ServerOptions};
use crate::journal::{Body, Cursor, Event, Journal, Source};
use crate::lane::attach::{AttachMemory, Observers};
use crate::lane::bringup::{Start, UpOptions};
use crate::lane::handle::{LaneEnd, LaneHandle};
use crate::lane::inspect::plan_on;
use crate::lane::plan::log_root;
use crate::lane::plan_sim::SimPlan;
use crate::lane::platform_detect::DetectConfig;
use crate::lane::sim::SimOptions;
use crate::lane::teardown::TeardownConfig;
use crate::lane::{
    AttachEnvironment, AttachSettings, AttachedLane, Lane, LaneError, Platform, Profile, SimLane,
};
use crate::report;
use crate::report::recorded::{About, Recorded, scenario};
use crate::report::style::{Look, Tone};
use crate::runner::{self, Project};
use tape::{RecordedDesk, Tape};
use terminal::{Raw, Typed};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "On a terminal, what is typed goes to the guest; Ctrl-] ends the recording. Everywhere, `backstaff control \
--socket PATH` types, too; the socket is in the lane's folder. Keys that somebody types into a viewer of the machine's own \
SPICE port are not seen.\n\nWhat is typed stands in the scenario as it was typed, secrets too.\n\nExit codes: 0 written, also \
when the guest powered off or Ctrl-C ended it; 2 usage, or FILE is there; 3 the profile does not load; 16 the lane did not come up \
or was lost, and what was recorded by then is written; 143 ended by SIGTERM.\n\nExamples:\n  backstaff record --output \
scenarios/boot.lua\n  backstaff record --lane sextant --output boot.lua --force\n  backstaff record </dev/null & backstaff control \
--socket logs/20261121-101000/control.sock key enter"
)]
pub(in crate::cli) struct RecordCommand {
    /// The lane; profiles are `NAME.toml` in `scenarios/lanes`, in the project's `lanes`, or in `--lane-dir` [default: the one
    /// that `backstaff run` would take].
    #[arg(long, value_name = "NAME", env = "BACKSTAFF_LANE")]
    lane: Option<String>,
    /// Where the scenario is written; `-` is standard output [default: `recorded.lua` in the lane's folder].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write FILE also when it is there.
    #[arg(long, requires = "output")]
    force: bool,
    /// Where the control socket is made [default: `control.sock` in the lane's folder].
    #[arg(long, value_name = "PATH")]
    control_socket: Option<PathBuf>,
    /// A further folder with lane profiles, searched first.
    #[arg(long, value_name = "DIR")]
    lane_dir: Vec<PathBuf>,
    /// Where the lane's folder is made.
    #[arg(long, value_name = "DIR", default_value = "logs")]
    artifacts: PathBuf,
}

pub(super) fn run(command: &RecordCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let profile = match load(command) {
        Ok(profile) => profile,
        Err(refusal) => return refusal.say(look),
    };
    let runtime = match runtime(look) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    runtime.block_on(record(command, profile, look))
}

/// Everything that can be wrong before a machine is wanted.
fn load(command: &RecordCommand) -> Result<Profile, Refusal> {
    if let Some(file) = command.output.as_deref().filter(|file| *file != Path::new("-")) {
        check_output(file, command.force)?;
    }
    let cwd =
        std::env::current_dir().map_err(|error| Refusal::usage(format!("no working directory: {error}")))?;
    let project = Project::find_here(&command.lane_dir, &cwd)?;
    let name = project.lane(command.lane.clone());
    let profile = project.profile(&name)?;
    if let Profile::Attach(profile) = &profile {
        let settings = AttachSettings::resolve(profile, &environment());
        let needed = [crate::lane::handle::Capability::Keyboard].into();
        if let Some(why) = settings.why_not(&needed) {
            return Err(Refusal::usage(why));
        }
    }
    Ok(profile)
}

fn check_output(file: &Path, force: bool) -> Result<(), Refusal> {
    let shown = file.display();
    if file.is_dir() {
        return Err(Refusal::usage(format!("--output {shown}: this is a folder")).hint("name a file in it"));
    }
    if !force && file.symlink_metadata().is_ok() {
        return Err(Refusal::usage(format!("--output {shown}: this is there already"))
            .hint("`--force` writes it anew; no machine was started"));
    }
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Refusal::usage(format!("--output {shown}: there is no folder {}", folder.display()))
            .hint("make it first; no machine was started"));
    }
    Ok(())
}

fn environment() -> AttachEnvironment {
    AttachEnvironment::collect(|name| std::env::var_os(name))
}

async fn record(command: &RecordCommand, profile: Profile, look: Look) -> ExitCode {
    let cancel = CancellationToken::new();
    let raw = Raw::new();
    let last = {
        let raw = raw.clone();
        move || raw.restore()
    };
    let received = match signals(&cancel, look, last) {
        Ok(received) => received,
        Err(code) => return code,
    };
    let name = profile_name(&profile).to_owned();
    let place = match Place::make(command, &profile).await {
        Ok(place) => place,
        Err(error) => {
            complain(look, &format!("lane \"{name}\": {}", chain(&error)), error.hint().as_deref());
            return ExitCode::LANE_FAILED;
        }
    };
    let tape = Tape::new(place.journal.clone());
    let served = ServedConsole::new();
    let path = command.control_socket.clone().unwrap_or_else(|| place.folder.join("control.sock"));
    let server = match ControlServer::bind(&path) {
        Ok(server) => server,
        Err(error) => return Refusal::usage(chain(&error)).hint(error.hint()).say(look),
    };
    let stop = CancellationToken::new();
    let desk = Arc::new(RecordedDesk::new(served.clone(), tape.clone()));
    let options = ServerOptions { clients: MOST_CLIENTS, ..ServerOptions::new(env!("CARGO_PKG_NAME")) };
    let serving = tokio::spawn(server.serve(desk, served.hub(), options, stop.clone()));
    let news = tokio::spawn(tell(place.journal.clone(), raw.clone(), look, stop.clone()));
    let result = hold(&place, profile, &served, &tape, &raw, &path, &cancel).await;
    raw.restore();
    stop.cancel();
    let _ = serving.await;
    let journal = place.journal.clone();
    let closing = journal.clone();
    let _ = tokio::task::spawn_blocking(move || closing.close()).await;
    let _ = news.await;
    let code = match (received.number(), &result) {
        (Some(SIGINT), _) | (None, Ok(None)) => ExitCode::PASSED,
        (Some(number), _) => ExitCode::signal(number),
        (None, Ok(Some(end))) => {
            tell_line(&end.how);
            if end.class.by_guest() { ExitCode::PASSED } else { ExitCode::LANE_FAILED }
        }
        (None, Err(error)) => {
            complain(look, &format!("lane \"{name}\": {}", chain(error)), error.hint().as_deref());
            ExitCode::LANE_FAILED
        }
    };
    // A lane that never was up has nothing to tell.
    if result.is_err() && tape.strokes().is_empty() {
        return code;
    }
    match store(command, &place, &name, &tape, look) {
        Ok(()) => code,
        Err(refusal) => code.graver(refusal.say(look)),
    }
}

fn profile_name(profile: &Profile) -> &str {
    match profile {
        Profile::Qemu(profile) => &profile.name,
        Profile::Sim(profile) => &profile.name,
        Profile::Attach(profile) => &profile.name,
    }
}

/// Where the lane leaves what it leaves.
struct Place {
    folder: PathBuf,
    journal: Journal,
    /// Of a machine that is to be booted.
    plan: Option<crate::lane::Plan>,
}

impl Place {
    async fn make(command: &RecordCommand, profile: &Profile) -> Result<Self, LaneError> {
        let artifacts = &*command.artifacts;
        match profile {
            Profile::Qemu(profile) => {
                let config = DetectConfig::new(std::env::var_os("PATH").unwrap_or_default());
                let facts = Platform::inspect_or_detect(&config).await?;
                let mut plan = plan_on(profile, &facts, None).validated()?;
                plan.development_log_root = log_root(artifacts, &profile.root);
                let (folder, journal) = new_folder(artifacts, &plan)?;
                Ok(Self { folder, journal, plan: Some(plan) })
            }
            Profile::Sim(profile) => {
                let (folder, journal) = new_folder(artifacts, &SimPlan(profile))?;
                Ok(Self { folder, journal, plan: None })
            }
            Profile::Attach(_) => {
                let failed = |source| LaneError::Prepare { path: artifacts.to_owned(), source };
                let folder = runner::new_run_folder(artifacts).map_err(failed)?;
                let folder = std::fs::canonicalize(&folder).map_err(failed)?;
                let journal = Journal::create(&folder.join("journal.ndjson")).map_err(failed)?;
                Ok(Self { folder, journal, plan: None })
            }
        }
    }
}

/// Brings the lane up and types on it until it ends or somebody wants it to; returns how it ended by itself.
async fn hold(
    place: &Place,
    profile: Profile,
    served: &ServedConsole,
    tape: &Tape,
    raw: &Raw,
    socket: &Path,
    cancel: &CancellationToken,
) -> Result<Option<LaneEnd>, LaneError> {
    let listener: Arc<dyn ConsoleListener> = Arc::new(served.clone());
    let (folder, journal) = (&*place.folder, &place.journal);
    let used = |handle: LaneHandle| async {
        let Some(console) = handle.console.clone() else { return wait(handle, cancel).await };
        // It looks only, and is over with the recording.
        tokio::select! {
            end = use_console(handle, &console, tape, raw, socket, folder, cancel) => end,
            never = keep_picture(&console, journal, folder) => match never {},
        }
    };
    match (profile, &place.plan) {
        (Profile::Qemu(_), Some(plan)) => {
            let options = UpOptions {
                plan,
                folder,
                start: Start::Boot,
                is_joinable: false,
                recorder: None,
                listener: Some(&listener),
            };
            let lane = match Lane::up_with(options, journal, cancel).await {
                Err(LaneError::Cancelled) => return Ok(None),
                up => up?,
            };
            let end = used(lane.handle()).await;
            lane.down(TeardownConfig::default()).await;
            Ok(end)
        }
        (Profile::Sim(profile), _) => {
            let options = SimOptions {
                profile: &profile,
                folder,
                is_joinable: false,
                recorder: None,
                listener: Some(&listener),
            };
            let lane = match SimLane::up(options, journal, cancel).await {
                Err(LaneError::Cancelled) => return Ok(None),
                up => up?,
            };
            let end = used(lane.handle()).await;
            lane.down().await;
            Ok(end)
        }
        (Profile::Attach(profile), _) => {
            let settings = AttachSettings::resolve(&profile, &environment());
            let observers = Observers { recorder: None, listener: Some(&listener) };
            let mut memory = AttachMemory::default();
            let lane =
                match AttachedLane::up_observed(&settings, &mut memory, journal, cancel, observers).await {
                    Err(LaneError::Cancelled) => return Ok(None),
                    up => up?,
                };
            let end = used(lane.handle()).await;
            lane.down().await;
            Ok(end)
        }
        (Profile::Qemu(_), None) => unreachable!("a machine of ours has a plan"),
    }
}

/// Has the terminal type, until the machine ends, Ctrl-], or somebody wants it to end.
async fn use_console(
    handle: LaneHandle,
    console: &Arc<dyn Console>,
    tape: &Tape,
    raw: &Raw,
    socket: &Path,
    folder: &Path,
    cancel: &CancellationToken,
) -> Option<LaneEnd> {
    let is_typed_on = terminal::is_ours();
    let ends = if is_typed_on { "type; Ctrl-] ends it" } else { "Ctrl-C ends it" };
    tell_line(&format!("recording lane {}: {ends}", handle.name));
    tell_line(&format!("the screen is in {}, anew with every change", folder.join(SCREEN).display()));
    tell_line(&format!("or type with: backstaff control --socket {} type TEXT", socket.display()));
    if !is_typed_on {
        return wait(handle, cancel).await;
    }
    let (sender, typed) = mpsc::unbounded_channel();
    raw.enter();
    terminal::read(sender);
    // Both only observe, or are over with the recording.
    tokio::select! {
        end = wait(handle, cancel) => end,
        () = type_all(&**console, tape, raw, typed) => None,
    }
}

/// Keeps what is on the screen in a file, for viewers of pictures that look again when it changes.
async fn keep_picture(
    console: &Arc<dyn Console>,
    journal: &Journal,
    folder: &Path,
) -> std::convert::Infallible {
    let file = folder.join(SCREEN);
    let mut read = Cursor::default();
    let mut newest = journal.watch();
    let mut is_kept = false;
    loop {
        let events = journal.after(Source::Screen, read);
        let is_drawn = !is_kept || events.iter().any(|event| matches!(event.body, Body::SurfaceDrawn { .. }));
        read = events.last().map_or(read, |event| Cursor(event.seq));
        if is_drawn {
            let (console, file) = (Arc::clone(console), file.clone());
            let kept = tokio::task::spawn_blocking(move || picture(&*console, &file)).await;
            is_kept = kept.is_ok_and(|kept| kept.is_some());
        }
        // What changes all the time is not worth a picture each time.
        tokio::time::sleep(PICTURE_PACE).await;
        if newest.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Nothing where there is no screen, or no room for its picture.
fn picture(console: &dyn Console, file: &Path) -> Option<()> {
    let png = Screenshot::take(console)?.to_png().ok()?;
    // Whoever looks sees a whole picture.
    let new = file.with_extension("new");
    std::fs::write(&new, png).ok()?;
    std::fs::rename(&new, file).ok()
}

/// Types what comes from the terminal, each key in its time. Returns when the person has had enough.
async fn type_all(console: &dyn Console, tape: &Tape, raw: &Raw, mut typed: mpsc::UnboundedReceiver<Typed>) {
    while let Some(typed) = typed.recv().await {
        let codes: Vec<Scancode> = match typed {
            Typed::End => return,
            Typed::Unknown(what) => {
                raw.say(&format!("no key makes {what}; nothing was typed for it"));
                continue;
            }
            Typed::Keys(codes) => codes,
        };
        let moment = tape.now();
        match typing::press(console, &codes, HOLD).await {
            Ok(()) => tape.put(moment, report::recorded::Input::Keys(codes)),
            Err(error) => raw.say(&error.to_string()),
        }
        tokio::time::sleep(HOLD).await;
    }
    // Nobody is there to type any more; the sockets are. Who runs this drops it when the recording ends.
    std::future::pending().await
}

/// Says what is news for somebody who types, a few lines at a time.
async fn tell(journal: Journal, raw: Raw, look: Look, over: CancellationToken) {
    let mut read = Cursor::default();
    let mut newest = journal.watch();
    loop {
        // Asked first: what is there by then is told.
        let is_over = over.is_cancelled();
        let events = journal.all_after(read);
        read = events.last().map_or(read, |event| Cursor(event.seq));
        let lines: Vec<String> = events.iter().filter_map(|event| news(event, look)).collect();
        let left_out = lines.len().saturating_sub(MOST_LINES);
        if left_out > 0 {
            raw.say(&look.paint(Tone::Faint, format!("… {left_out} more lines")));
        }
        lines.iter().skip(left_out).for_each(|line| raw.say(line));
        if is_over {
            return;
        }
        // Both only observe. What comes at once is shown at once, without a flood of it taking the terminal.
        tokio::select! {
            _ = newest.changed() => drop(tokio::time::timeout(PACE, over.cancelled()).await),
            () = over.cancelled() => {}
        }
    }
}

fn news(event: &Event, look: Look) -> Option<String> {
    if let Some(line) = report::lane::progress(event, look) {
        return Some(line.trim_end().to_owned());
    }
    let (from, text) = match &event.body {
        Body::SerialLine { text } | Body::SerialPrompt { text } => ("serial", text.clone()),
        Body::DigestRecord { record, .. } => ("digest", report::recorded::told(record)?),
        Body::ConsoleNotice { text } => ("console", text.clone()),
        _ => return None,
    };
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let room = look.width.saturating_sub(9).max(20);
    Some(format!(
        "{} {}",
        look.paint(Tone::Place, format!("{from:<7}")),
        clean.take(room).collect::<String>()
    ))
}

/// For people, beside what goes to standard output.
fn tell_line(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Writes the scenario into the lane's folder, and where it is wanted.
fn store(command: &RecordCommand, place: &Place, lane: &str, tape: &Tape, look: Look) -> Result<(), Refusal> {
    let kept = place.folder.join("recorded.lua");
    let wanted = command.output.as_deref().filter(|file| *file != Path::new("-"));
    let file = wanted.unwrap_or(&kept);
    let shown = std::env::current_dir().ok().and_then(|cwd| file.strip_prefix(cwd).ok()).unwrap_or(file);
    let play = format!("backstaff run {} --lane {lane}", shown.display());
    let recorded =
        scenario(About { lane, play: &play }, &tape.strokes(), &place.journal.all_after(Cursor::default()));
    let failed = |path: &Path, error: &std::io::Error| {
        Refusal::usage(format!("write {}: {error}", path.display()))
            .hint(format!("the scenario is in {}", kept.display()))
    };
    std::fs::write(&kept, &recorded.text).map_err(|error| failed(&kept, &error))?;
    match &command.output {
        Some(_) if wanted.is_none() => {
            let written = anstream::stdout().write_all(recorded.text.as_bytes());
            written.map_err(|error| failed(Path::new("-"), &error))?;
        }
        Some(file) => write(file, &recorded.text, command.force).map_err(|error| failed(file, &error))?,
        None => {}
    }
    summarize(&recorded, &play, tape.strokes().len(), look);
    Ok(())
}

/// As a whole, and over what came meanwhile only with `--force`.
fn write(file: &Path, text: &str, force: bool) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let options = if force {
        options.write(true).create(true).truncate(true)
    } else {
        options.write(true).create_new(true)
    };
    options.open(file)?.write_all(text.as_bytes())
}

fn summarize(recorded: &Recorded, play: &str, keys: usize, look: Look) {
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    tell_line(&format!(
        "recorded {}, {} and {}; play it with: {play}",
        plural(keys, "input"),
        plural(recorded.steps, "step"),
        plural(recorded.waits, "wait")
    ));
    let note = |text: &str| tell_line(&format!("{} {text}", look.paint(Tone::Warn, "note:")));
    if recorded.has_text {
        note("typed text is in it as it was typed; take secrets out before you share it");
    }
    if keys == 0 {
        note("nothing was typed: it only waits for what was seen");
    }
}

/// What firmware, which reads its keyboard every 20 ms, needs to see a key.
const HOLD: Duration = Duration::from_millis(20);
/// The picture of the screen, in the lane's folder.
const SCREEN: &str = "screen.png";
const PICTURE_PACE: Duration = Duration::from_millis(500);
const PACE: Duration = Duration::from_millis(50);
/// More than that at once nobody reads.
const MOST_LINES: usize = 30;
const MOST_CLIENTS: usize = 64;
const SIGINT: u8 = 2;
