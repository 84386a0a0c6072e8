//! `backstaff lane up`: holds a lane in the foreground for people to join.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::super::args::ColorChoice;
use super::super::exit::ExitCode;
use super::super::run::{Refusal, chain, complain, look, runtime, signals};
use crate::journal::{Body, Cursor, Journal};
use crate::lane::bringup::{Start, UpOptions};
use crate::lane::handle::{LaneEnd, LaneHandle};
use crate::lane::inspect::plan_on;
use crate::lane::join::{Joining, VV_FILE};
use crate::lane::plan::{SPICE_SOCKET, log_root};
use crate::lane::plan_sim::SimPlan;
use crate::lane::platform_detect::DetectConfig;
use crate::lane::profile::{QemuProfile, SimProfile};
use crate::lane::sim::SimOptions;
use crate::lane::teardown::TeardownConfig;
use crate::lane::{Lane, LaneError, Platform, Profile, SimLane};
use crate::report;
use crate::report::style::Look;
use crate::runner::{self, Project};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ctrl-C takes the lane down; once more does so at once.\n\nExit codes: 0 the guest powered off, 3 the \
profile does not load, 16 the lane did not come up or was lost, 130 ended by Ctrl-C.\n\nExamples:\n  backstaff lane up \
sextant\n  backstaff lane up sextant --lane-dir other/lanes --artifacts build/logs"
)]
pub(in crate::cli) struct UpCommand {
    /// The lane; profiles are `NAME.toml` in `scenarios/lanes`, in the project's `lanes`, or in `--lane-dir`.
    #[arg(value_name = "NAME")]
    name: String,
    /// A further folder with lane profiles, searched first.
    #[arg(long, value_name = "DIR")]
    lane_dir: Vec<PathBuf>,
    /// Where the lane's folder is made.
    #[arg(long, value_name = "DIR", default_value = "logs")]
    artifacts: PathBuf,
}

pub(super) fn run(command: &UpCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let profile = match load(command) {
        Ok(profile) => profile,
        Err(refusal) => return refusal.say(look),
    };
    let runtime = match runtime(look) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    runtime.block_on(hold_until_signal(profile, command, look))
}

fn load(command: &UpCommand) -> Result<Profile, Refusal> {
    let cwd =
        std::env::current_dir().map_err(|error| Refusal::usage(format!("no working directory: {error}")))?;
    let project = Project::find_here(&command.lane_dir, &cwd)?;
    Ok(project.profile(&command.name)?)
}

async fn hold_until_signal(profile: Profile, command: &UpCommand, look: Look) -> ExitCode {
    if let Profile::Attach(_) = profile {
        let hint = "`backstaff run --lane NAME` runs scenarios on it";
        complain(
            look,
            &format!("lane \"{}\" runs already, and is somebody else's", command.name),
            Some(hint),
        );
        return ExitCode::USAGE;
    }
    let cancel = CancellationToken::new();
    // What to remove when there is no time to take the lane down.
    let names: Names = Arc::default();
    let last = {
        let names = Arc::clone(&names);
        move || names.get().into_iter().flatten().for_each(|name| drop(std::fs::remove_file(name)))
    };
    let received = match signals(&cancel, look, last) {
        Ok(received) => received,
        Err(code) => return code,
    };
    let result = match profile {
        Profile::Qemu(profile) => hold(&profile, command, look, &cancel, &names).await,
        Profile::Sim(profile) => hold_simulated(&profile, command, look, &cancel, &names).await,
        Profile::Attach(_) => unreachable!("it was refused"),
    };
    match (received.number(), result) {
        (Some(number), _) => ExitCode::signal(number),
        (None, Ok(Some(end))) => {
            let _ = say(&format!("{}\n", end.how));
            if end.class.by_guest() { ExitCode::PASSED } else { ExitCode::LANE_FAILED }
        }
        (None, Ok(None)) => ExitCode::PASSED,
        (None, Err(error)) => {
            complain(look, &format!("lane \"{}\": {}", command.name, chain(&error)), error.hint().as_deref());
            ExitCode::LANE_FAILED
        }
    }
}

/// Files that must not outlast the lane.
type Names = Arc<OnceLock<Vec<PathBuf>>>;

async fn hold(
    profile: &QemuProfile,
    command: &UpCommand,
    look: Look,
    cancel: &CancellationToken,
    names: &Names,
) -> Result<Option<LaneEnd>, LaneError> {
    let config = DetectConfig::new(std::env::var_os("PATH").unwrap_or_default());
    let facts = Platform::inspect_or_detect(&config).await?;
    let mut plan = plan_on(profile, &facts, None).validated()?;
    plan.development_log_root = log_root(&command.artifacts, &profile.root);
    let (folder, journal) = new_folder(&command.artifacts, &plan)?;
    let transient = plan.transient_names().into_iter().chain([VV_FILE]);
    let _ = names.set(transient.map(|name| folder.join(name)).collect());
    let telling = tokio::spawn(tell(journal.clone(), look));
    let options = UpOptions {
        plan: &plan,
        folder: &folder,
        start: Start::Boot,
        is_joinable: true,
        recorder: None,
        listener: None,
    };
    let up = Lane::up_with(options, &journal, cancel).await;
    telling.abort();
    let result = match up {
        Ok(mut lane) => {
            lane.release_console().await;
            let joining = Joining::prepare(&plan, &folder);
            let pid = lane.pid();
            let said = joining.and_then(|joining| say(&report::lane::joining(&joining, Some(pid), look)));
            let end = match said {
                Ok(()) => Ok(wait(lane.handle(), cancel).await),
                Err(source) => Err(LaneError::Prepare { path: folder.clone(), source }),
            };
            lane.down(TeardownConfig::default()).await;
            Joining::forget(&folder);
            end
        }
        Err(error) => Err(error),
    };
    let _ = tokio::task::spawn_blocking(move || journal.close()).await;
    result
}

async fn hold_simulated(
    profile: &SimProfile,
    command: &UpCommand,
    look: Look,
    cancel: &CancellationToken,
    names: &Names,
) -> Result<Option<LaneEnd>, LaneError> {
    let (folder, journal) = new_folder(&command.artifacts, &SimPlan(profile))?;
    let _ = names.set([SPICE_SOCKET, VV_FILE].map(|name| folder.join(name)).into());
    let telling = tokio::spawn(tell(journal.clone(), look));
    let options = SimOptions { profile, folder: &folder, is_joinable: true, recorder: None, listener: None };
    let up = SimLane::up(options, &journal, cancel).await;
    telling.abort();
    let result = match up {
        Ok(lane) => {
            let joining = Joining::prepare_simulated(&profile.name, &folder);
            let said = joining.and_then(|joining| say(&report::lane::joining(&joining, None, look)));
            let end = match said {
                Ok(()) => Ok(wait(lane.handle(), cancel).await),
                Err(source) => Err(LaneError::Prepare { path: folder.clone(), source }),
            };
            lane.down().await;
            Joining::forget(&folder);
            end
        }
        Err(error) => Err(error),
    };
    let _ = tokio::task::spawn_blocking(move || journal.close()).await;
    result
}

/// Makes the lane's folder, with the plan in it, and its journal.
pub(in crate::cli) fn new_folder(
    artifacts: &Path,
    plan: &impl serde::Serialize,
) -> Result<(PathBuf, Journal), LaneError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LaneError::Prepare { path, source }
    };
    let folder = runner::new_run_folder(artifacts).map_err(failed(artifacts))?;
    // Absolute, as others come from elsewhere.
    let folder = std::fs::canonicalize(&folder).map_err(failed(&folder))?;
    let journal = Journal::create(&folder.join("journal.ndjson")).map_err(failed(&folder))?;
    runner::store_plan(plan, &folder).map_err(failed(&folder))?;
    Ok((folder, journal))
}

/// Holds the lane until it ends or somebody wants it to; returns how it ended by itself.
pub(in crate::cli) async fn wait(lane: LaneHandle, cancel: &CancellationToken) -> Option<LaneEnd> {
    let mut ended = lane.ended;
    // Both arms only observe.
    tokio::select! {
        end = ended.wait_for(Option::is_some) => end.ok().and_then(|end| end.clone()),
        () = cancel.cancelled() => None,
    }
}

/// Says what the lane is waiting for, until it is told to stop.
pub(in crate::cli) async fn tell(journal: Journal, look: Look) {
    let mut read = Cursor::default();
    let mut newest = journal.watch();
    loop {
        for event in journal.all_after(read) {
            read = Cursor(event.seq);
            if matches!(event.body, Body::LaneState { .. } | Body::Gate { .. } | Body::Acceleration { .. })
                && let Some(line) = report::lane::progress(&event, look)
            {
                let _ = say(&line);
            }
        }
        if newest.changed().await.is_err() {
            return;
        }
    }
}

pub(in crate::cli) fn say(text: &str) -> std::io::Result<()> {
    match anstream::stdout().write_all(text.as_bytes()) {
        // A reader that went away, as `| head` does, takes nothing away from the lane.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
