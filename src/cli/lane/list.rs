//! `backstaff lane list`. Starts no machine and writes nothing; QEMU is only asked what it can do.

use std::cell::LazyCell;
use std::io::Write as _;
use std::path::PathBuf;

use crate::cli::args::ColorChoice;
use crate::cli::exit::ExitCode;
use crate::cli::run::{Refusal, chain, complain, look};
use crate::lane::plan::resolve_acceleration;
use crate::lane::platform_detect::DetectConfig;
use crate::lane::profile::{AttachProfile, QemuProfile};
use crate::lane::{Platform, Profile, plan};
use crate::report::lanes;
use crate::runner::Project;
use crate::runner::project::LaneState;

/// Options of `backstaff lane list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  backstaff lane list\n  \
backstaff lane list --json | jq -r '.lanes[] | select(.state == \"broken\").message'")]
pub(in crate::cli) struct ListCommand {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// A further folder with lane profiles, searched first.
    #[arg(long, value_name = "DIR")]
    lane_dir: Vec<PathBuf>,
}

/// Prints every profile with its state. Broken ones are part of the answer, not a failure of it.
pub(super) fn run(command: &ListCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let cwd = match std::env::current_dir() {
        Ok(cwd) => cwd,
        Err(error) => return Refusal::usage(format!("no working directory: {error}")).say(look),
    };
    let mut project = match Project::find_here(&command.lane_dir, &cwd) {
        Ok(project) => project,
        Err(error) => return Refusal::from(error).say(look),
    };
    if let Ok(lane) = std::env::var("BACKSTAFF_LANE") {
        project.default_lane = Some(lane);
    }
    // Nobody has to wait for QEMU's answers where no profile wants them.
    let platform = LazyCell::new(detect);
    let listed = project.list(&|profile| match profile {
        Profile::Qemu(profile) => state_of_machine(profile, &platform),
        Profile::Attach(profile) => state_of_attached(profile),
    });
    let default_lane = project.default_lane.as_deref();
    let text = match command.json {
        true => lanes::json(&listed, default_lane),
        false => lanes::text(&listed, default_lane, &cwd, look),
    };
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            complain(look, &format!("the list cannot be written: {error}"), None);
            ExitCode::USAGE
        }
        _ => ExitCode::PASSED,
    }
}

/// Describes this host, or says why not.
fn detect() -> Result<Platform, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    let config = DetectConfig::new(std::env::var_os("PATH").unwrap_or_default());
    runtime.block_on(Platform::detect(&config)).map_err(|error| chain(&error))
}

fn state_of_machine(profile: &QemuProfile, platform: &Result<Platform, String>) -> LaneState {
    let draft = |why: String| LaneState::Draft { unresolved: vec![why] };
    let platform = match platform {
        Ok(platform) => platform,
        Err(why) => return draft(why.clone()),
    };
    let planned = resolve_acceleration(profile.machine.accel, platform, None)
        .and_then(|acceleration| plan(profile, platform, &acceleration));
    match planned {
        Ok(_) => LaneState::Validated,
        Err(error) => draft(chain(&error)),
    }
}

fn state_of_attached(profile: &AttachProfile) -> LaneState {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_address = [&profile.spice, &profile.vv, &profile.control_socket].into_iter().any(Option::is_some)
        || ["BACKSTAFF_SPICE", "BACKSTAFF_VV", "BACKSTAFF_CONTROL_SOCKET"].into_iter().any(is_set);
    if has_address {
        return LaneState::Validated;
    }
    let why = "no address: `spice`, `vv` or `control_socket` under `[attach]`, or BACKSTAFF_SPICE, BACKSTAFF_VV or \
               BACKSTAFF_CONTROL_SOCKET";
    LaneState::Draft { unresolved: vec![why.to_owned()] }
}
