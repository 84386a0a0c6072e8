//! `backstaff lane plan`: has no effect at all, so there is no runtime and no thread but this one (and one more for a
//! moment where KVM is tried).

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::super::args::{ColorChoice, LanePlanCommand};
use super::super::exit::ExitCode;
use super::super::run::{Refusal, complain, look};
use crate::lane::inspect::plan_on;
use crate::lane::plan::log_root;
use crate::lane::platform_detect::DetectConfig;
use crate::lane::{Plan, Platform, Profile};
use crate::report;
use crate::runner::Project;

/// Prints what the lane comes to on this host.
pub(super) fn run(command: LanePlanCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let profile = match load(&command.name, &command.lane_dir) {
        Ok(profile) => profile,
        Err(refusal) => return refusal.say(look),
    };
    let config = DetectConfig::new(std::env::var_os("PATH").unwrap_or_default());
    let plan = plan(profile, &config, &command.artifacts);
    let mut out = anstream::stdout();
    let written = match command.json {
        true => serde_json::to_string_pretty(&plan)
            .map_err(std::io::Error::from)
            .and_then(|text| writeln!(out, "{text}")),
        false => report::plan::write(&plan, look, &mut out),
    };
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        complain(look, &format!("the plan cannot be written: {error}"), None);
    }
    match plan.is_validated() {
        true => ExitCode::PASSED,
        false => ExitCode::NOT_LOADED,
    }
}

fn load(name: &str, lane_dirs: &[PathBuf]) -> Result<Profile, Refusal> {
    let cwd =
        std::env::current_dir().map_err(|error| Refusal::usage(format!("no working directory: {error}")))?;
    // As `backstaff run` does without a path.
    let project = Project::find(Path::new("scenarios"), lane_dirs, &cwd)?;
    Ok(project.profile(name)?)
}

fn plan(profile: Profile, config: &DetectConfig, artifacts: &Path) -> Plan {
    match profile {
        Profile::Qemu(profile) => {
            let mut plan = plan_on(&profile, &Platform::inspect(config), None);
            plan.development_log_root = log_root(artifacts, &profile.root);
            plan
        }
        Profile::Attach(_) => unreachable!("no other kind of profile loads"),
    }
}
