//! `backstaff lane list`. Starts no process and writes nothing.

use std::cell::LazyCell;
use std::io::Write as _;
use std::path::PathBuf;

use super::plan::missing_address;
use crate::cli::args::ColorChoice;
use crate::cli::exit::ExitCode;
use crate::cli::run::{Refusal, complain, look};
use crate::lane::inspect::plan_on;
use crate::lane::platform::HostFacts;
use crate::lane::platform_detect::DetectConfig;
use crate::lane::profile::{AttachProfile, QemuProfile};
use crate::lane::{Platform, Profile};
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
    project.default_lane = Some(project.lane(std::env::var("BACKSTAFF_LANE").ok()));
    // Nobody has to wait for a look at this host where no profile wants it.
    let facts =
        LazyCell::new(|| Platform::inspect(&DetectConfig::new(std::env::var_os("PATH").unwrap_or_default())));
    let listed = project.list(&|profile| match profile {
        Profile::Qemu(profile) => state_of_machine(profile, &facts),
        Profile::Attach(profile) => state_of_attached(profile),
        Profile::Sim(_) => LaneState::Validated,
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

fn state_of_machine(profile: &QemuProfile, facts: &HostFacts) -> LaneState {
    let plan = plan_on(profile, facts, None);
    match plan.is_validated() {
        true => LaneState::Validated,
        false => LaneState::Draft { unresolved: plan.unresolved.iter().map(ToString::to_string).collect() },
    }
}

fn state_of_attached(profile: &AttachProfile) -> LaneState {
    match missing_address(profile) {
        None => LaneState::Validated,
        Some(why) => LaneState::Draft { unresolved: vec![why] },
    }
}
