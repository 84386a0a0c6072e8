//! `backstaff serve`: a lane's console on a control socket.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::args::ColorChoice;
use super::exit::ExitCode;
use super::lane::up::{new_folder, say, tell, wait};
use super::run::{Refusal, chain, complain, look, runtime, signals};
use crate::console::ConsoleListener;
use crate::console::served::ServedConsole;
use crate::control::server::{BindError, ControlServer, Served, ServerOptions};
use crate::journal::Journal;
use crate::lane::attach::{AttachMemory, Observers};
use crate::lane::attach_settings::{Address, ConsoleSource};
use crate::lane::bringup::{Start, UpOptions};
use crate::lane::handle::{Capability, LaneEnd};
use crate::lane::inspect::plan_on;
use crate::lane::plan::{SERIAL_LOG, log_root};
use crate::lane::plan_sim::SimPlan;
use crate::lane::platform_detect::DetectConfig;
use crate::lane::profile::{AttachProfile, QemuProfile, SimProfile};
use crate::lane::sim::SimOptions;
use crate::lane::teardown::TeardownConfig;
use crate::lane::{
    AttachEnvironment, AttachSettings, AttachedLane, Lane, LaneError, Platform, Profile, SimLane,
};
use crate::report::style::Look;
use crate::runner::Project;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The socket is there before the console is up: ask `status`, and wait for a surface. It is removed when \
the console closes. Tickets and certificates come from the environment, as for attached lanes.\n\nExit codes: 0 the \
session ended in order, or Ctrl-C; 1 the console cannot be opened or was lost, or a paste failed; 2 usage, or there can be \
no such socket; 3 the profile does not load; 16 the lane did not come up or was lost; 143 ended by SIGTERM.\n\nExamples:\n  \
backstaff serve --lane sim --control-socket /tmp/console\n  backstaff serve --spice spice://localhost:5930 \
--control-socket console.sock --multi\n  backstaff serve --lane sextant --control-socket c.sock --serial-log serial.log \
& BACKSTAFF_CONTROL_SOCKET=c.sock BACKSTAFF_SERIAL_LOG=serial.log backstaff run scenarios/canonical.lua --lane attached"
)]
pub(in crate::cli) struct ServeCommand {
    /// The lane to bring up; profiles are `NAME.toml` in `scenarios/lanes`, in the project's `lanes`, or in `--lane-dir`
    /// [default: the one that `backstaff run` would take].
    #[arg(long, value_name = "NAME", conflicts_with_all = ["spice", "vv"])]
    lane: Option<String>,
    /// The SPICE server of a machine that runs already: HOST:PORT, spice://…, spice+tls://… or spice+unix:///….
    #[arg(long, value_name = "URI", conflicts_with = "vv")]
    spice: Option<String>,
    /// The connection file of a machine that runs already.
    #[arg(long, value_name = "FILE")]
    vv: Option<PathBuf>,
    /// Where the socket is made. What a dead server left there is replaced.
    #[arg(long, value_name = "PATH")]
    control_socket: PathBuf,
    /// Where what the guest says on its serial port is written, from the beginning; for lanes that are brought up.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["spice", "vv"])]
    serial_log: Option<PathBuf>,
    /// Talk to several clients at a time, each with a queue of its own.
    #[arg(long)]
    multi: bool,
    /// A further folder with lane profiles, searched first.
    #[arg(long, value_name = "DIR")]
    lane_dir: Vec<PathBuf>,
    /// Where the lane's folder is made.
    #[arg(long, value_name = "DIR", default_value = "logs")]
    artifacts: PathBuf,
}

/// What is served.
enum Source {
    Qemu(Box<QemuProfile>),
    Sim(Box<SimProfile>),
    Attached(AttachSettings),
    /// A console that was named on the command line.
    Console(AttachSettings),
}

pub(super) fn run(command: &ServeCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let prepared = source(command).and_then(|source| Ok((source, bind(command)?)));
    let (source, server) = match prepared {
        Ok(prepared) => prepared,
        Err(refusal) => return refusal.say(look),
    };
    let runtime = match runtime(look) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    runtime.block_on(serve(command, source, server, look))
}

fn source(command: &ServeCommand) -> Result<Source, Refusal> {
    let cwd =
        std::env::current_dir().map_err(|error| Refusal::usage(format!("no working directory: {error}")))?;
    let environment = AttachEnvironment::collect(|name| std::env::var_os(name));
    let named = match (&command.spice, &command.vv) {
        (Some(uri), _) => Some(("--spice", ConsoleSource::Spice(Address(uri.clone())))),
        (None, Some(file)) => Some(("--vv", ConsoleSource::Vv(file.clone()))),
        (None, None) => None,
    };
    if let Some((option, console)) = named {
        return Ok(Source::Console(AttachSettings::of_argument(option, console, &environment)));
    }
    let project = Project::find_here(&command.lane_dir, &cwd)?;
    let name = project.lane(command.lane.clone());
    Ok(match project.profile(&name)? {
        Profile::Qemu(profile) => Source::Qemu(profile),
        Profile::Sim(profile) => Source::Sim(profile),
        Profile::Attach(profile) => Source::Attached(attached(command, &profile, &environment)?),
    })
}

fn attached(
    command: &ServeCommand,
    profile: &AttachProfile,
    environment: &AttachEnvironment,
) -> Result<AttachSettings, Refusal> {
    let settings = AttachSettings::resolve(profile, environment);
    if let Some(why) = settings.why_not(&BTreeSet::from([Capability::Keyboard, Capability::Screen])) {
        return Err(Refusal::usage(why));
    }
    if command.serial_log.is_some() {
        let why =
            format!("--serial-log: lane \"{}\" is somebody else's, and so is its serial port", profile.name);
        return Err(Refusal::usage(why));
    }
    Ok(settings)
}

fn bind(command: &ServeCommand) -> Result<ControlServer, Refusal> {
    let refuse = |error: BindError| Refusal::usage(chain(&error)).hint(error.hint());
    ControlServer::bind(&command.control_socket).map_err(refuse)
}

async fn serve(command: &ServeCommand, source: Source, server: ControlServer, look: Look) -> ExitCode {
    let cancel = CancellationToken::new();
    // What to remove when there is no time to take the lane down.
    let name = server.name();
    let last = move || name.remove();
    let received = match signals(&cancel, look, last) {
        Ok(received) => received,
        Err(code) => return code,
    };
    let served = ServedConsole::new();
    let stop = CancellationToken::new();
    let serving = Serving::begin(command, server, &served, stop.clone());
    let is_console = matches!(source, Source::Console(_));
    let result = hold(command, source, &served, look, &cancel).await;
    stop.cancel();
    let outcome = serving.end().await;
    let failed = if is_console { ExitCode::FAILED } else { ExitCode::LANE_FAILED };
    let code = match (received.number(), result) {
        // This is how a server is ended.
        (Some(SIGINT), _) | (None, Ok(None)) => ExitCode::PASSED,
        (Some(number), _) => return ExitCode::signal(number),
        (None, Ok(Some(end))) => {
            let _ = say(&format!("{}\n", end.how));
            if end.class.by_guest() { ExitCode::PASSED } else { failed }
        }
        (None, Err(error)) => {
            complain(look, &chain(&error), error.hint().as_deref());
            failed
        }
    };
    match outcome {
        Err(error) => {
            complain(look, &format!("the control socket failed: {error}"), None);
            ExitCode::LANE_FAILED
        }
        Ok(Served { failed_pastes: 1.., .. }) if code == ExitCode::PASSED => ExitCode::FAILED,
        Ok(_) => code,
    }
}

/// The server, at work while the lane comes up.
struct Serving {
    task: JoinHandle<std::io::Result<Served>>,
}

impl Serving {
    fn begin(
        command: &ServeCommand,
        server: ControlServer,
        served: &ServedConsole,
        stop: CancellationToken,
    ) -> Self {
        let clients = if command.multi { MOST_CLIENTS } else { 1 };
        let options = ServerOptions { clients, ..ServerOptions::new(env!("CARGO_PKG_NAME")) };
        let (desk, hub, over) = (Arc::new(served.clone()), served.hub(), served.over());
        let either = stop.clone();
        // Clients see the end of the console when it comes, and not when the lane has been taken down.
        tokio::spawn(async move {
            over.cancelled().await;
            either.cancel();
        });
        Self { task: tokio::spawn(server.serve(desk, hub, options, stop)) }
    }

    async fn end(self) -> std::io::Result<Served> {
        self.task.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }
}

/// Brings the lane up and holds it until it ends or somebody wants it to; returns how it ended by itself.
async fn hold(
    command: &ServeCommand,
    source: Source,
    served: &ServedConsole,
    look: Look,
    cancel: &CancellationToken,
) -> Result<Option<LaneEnd>, LaneError> {
    let listener: Arc<dyn ConsoleListener> = Arc::new(served.clone());
    match source {
        Source::Qemu(profile) => hold_qemu(command, &profile, &listener, look, cancel).await,
        Source::Sim(profile) => hold_simulated(command, &profile, &listener, look, cancel).await,
        Source::Attached(settings) | Source::Console(settings) => {
            let journal = Journal::new();
            let telling = tokio::spawn(tell(journal.clone(), look));
            let observers = Observers { recorder: None, listener: Some(&listener) };
            let mut memory = AttachMemory::default();
            let up = AttachedLane::up_observed(&settings, &mut memory, &journal, cancel, observers).await;
            telling.abort();
            let lane = match up {
                Err(LaneError::Cancelled) => return Ok(None),
                up => up?,
            };
            let _ = say(&ready(command));
            let end = wait(lane.handle(), cancel).await;
            lane.down().await;
            Ok(end)
        }
    }
}

async fn hold_qemu(
    command: &ServeCommand,
    profile: &QemuProfile,
    listener: &Arc<dyn ConsoleListener>,
    look: Look,
    cancel: &CancellationToken,
) -> Result<Option<LaneEnd>, LaneError> {
    let config = DetectConfig::new(std::env::var_os("PATH").unwrap_or_default());
    let facts = Platform::inspect_or_detect(&config).await?;
    let mut plan = plan_on(profile, &facts, None).validated()?;
    plan.development_log_root = log_root(&command.artifacts, &profile.root);
    let (folder, journal) = new_folder(&command.artifacts, &plan)?;
    lead_serial(command, &folder)?;
    let telling = tokio::spawn(tell(journal.clone(), look));
    let options = UpOptions {
        plan: &plan,
        folder: &folder,
        start: Start::Boot,
        is_joinable: false,
        recorder: None,
        listener: Some(listener),
    };
    let up = Lane::up_with(options, &journal, cancel).await;
    telling.abort();
    let end = match up {
        Ok(lane) => {
            let _ = say(&ready(command));
            let end = wait(lane.handle(), cancel).await;
            lane.down(TeardownConfig::default()).await;
            Ok(end)
        }
        Err(LaneError::Cancelled) => Ok(None),
        Err(error) => Err(error),
    };
    let _ = tokio::task::spawn_blocking(move || journal.close()).await;
    end
}

async fn hold_simulated(
    command: &ServeCommand,
    profile: &SimProfile,
    listener: &Arc<dyn ConsoleListener>,
    look: Look,
    cancel: &CancellationToken,
) -> Result<Option<LaneEnd>, LaneError> {
    let (folder, journal) = new_folder(&command.artifacts, &SimPlan(profile))?;
    lead_serial(command, &folder)?;
    let telling = tokio::spawn(tell(journal.clone(), look));
    let options =
        SimOptions { profile, folder: &folder, is_joinable: false, recorder: None, listener: Some(listener) };
    let up = SimLane::up(options, &journal, cancel).await;
    telling.abort();
    let end = match up {
        Ok(lane) => {
            let _ = say(&ready(command));
            let end = wait(lane.handle(), cancel).await;
            lane.down().await;
            Ok(end)
        }
        Err(LaneError::Cancelled) => Ok(None),
        Err(error) => Err(error),
    };
    let _ = tokio::task::spawn_blocking(move || journal.close()).await;
    end
}

/// Has the lane write its serial log where it is wanted: the name in its folder leads there.
fn lead_serial(command: &ServeCommand, folder: &Path) -> Result<(), LaneError> {
    let Some(path) = &command.serial_log else { return Ok(()) };
    let failed = |source| LaneError::Prepare { path: path.clone(), source };
    // It is there, and empty, before anything is: whoever follows it has something to follow.
    std::fs::write(path, "").map_err(failed)?;
    let target = std::fs::canonicalize(path).map_err(failed)?;
    std::os::unix::fs::symlink(target, folder.join(SERIAL_LOG)).map_err(failed)
}

fn ready(command: &ServeCommand) -> String {
    format!("serving on {}; Ctrl-C ends it\n", command.control_socket.display())
}

/// More clients than anybody has, fewer than the system has descriptors.
const MOST_CLIENTS: usize = 64;
const SIGINT: u8 = 2;
