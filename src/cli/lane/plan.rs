//! `backstaff lane plan`: has no effect at all, so there is no runtime and no thread but this one (and one more for a
//! moment where KVM is tried).

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::super::args::{ColorChoice, LanePlanCommand};
use super::super::exit::ExitCode;
use super::super::run::{Refusal, complain, look};
use crate::lane::inspect::plan_on;
use crate::lane::plan::log_root;
use crate::lane::plan_sim::SimPlan;
use crate::lane::platform_detect::DetectConfig;
use crate::lane::profile::{AttachProfile, QemuProfile, SimProfile};
use crate::lane::{Plan, Platform, Profile};
use crate::report;
use crate::report::style::Look;
use crate::runner::Project;

/// Prints what the lane comes to on this host.
pub(super) fn run(command: LanePlanCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let profile = match load(&command.name, &command.lane_dir) {
        Ok(profile) => profile,
        Err(refusal) => return refusal.say(look),
    };
    let profile = match profile {
        Profile::Qemu(profile) => profile,
        Profile::Attach(profile) => return attached(&profile, command.json, look),
        Profile::Sim(profile) => return simulated(&profile, command.json, look),
    };
    let config = DetectConfig::new(std::env::var_os("PATH").unwrap_or_default());
    let plan = plan(&profile, &config, &command.artifacts);
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
    let project = Project::find_here(lane_dirs, &cwd)?;
    Ok(project.profile(name)?)
}

fn plan(profile: &QemuProfile, config: &DetectConfig, artifacts: &Path) -> Plan {
    let mut plan = plan_on(profile, &Platform::inspect(config), None);
    plan.development_log_root = log_root(artifacts, &profile.root);
    plan
}

/// Nothing is started for a machine that is somebody else's; what can be unresolved is its address.
fn attached(profile: &AttachProfile, json: bool, look: Look) -> ExitCode {
    let missing = missing_address(profile);
    let state = if missing.is_some() { "draft" } else { "validated" };
    let text = match json {
        true => {
            let document = serde_json::json!({
                "format": "backstaff-plan",
                "version": 1,
                "kind": "attach",
                "profile": profile.name,
                "state": state,
                "unresolved": missing.iter().map(|why| serde_json::json!({ "what": "address", "why": why }))
                    .collect::<Vec<_>>(),
                "argv": [],
                "profile_hash": profile.profile_hash(),
                "gates": profile.gates,
            });
            format!("{document:#}\n")
        }
        false => {
            let why = missing.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("{} is somebody else's machine: {state}{why}\n", profile.name)
        }
    };
    if let Err(error) = anstream::stdout().write_all(text.as_bytes())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        complain(look, &format!("the plan cannot be written: {error}"), None);
    }
    if missing.is_some() { ExitCode::NOT_LOADED } else { ExitCode::PASSED }
}

/// Nothing of this host is needed, so there is nothing to be unresolved.
fn simulated(profile: &SimProfile, json: bool, look: Look) -> ExitCode {
    let plan = SimPlan(profile);
    let mut out = anstream::stdout();
    let written = match json {
        true => serde_json::to_string_pretty(&plan)
            .map_err(std::io::Error::from)
            .and_then(|text| writeln!(out, "{text}")),
        false => report::plan::write_simulated(&plan, look, &mut out),
    };
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        complain(look, &format!("the plan cannot be written: {error}"), None);
    }
    ExitCode::PASSED
}

/// Why an attached machine cannot be reached, if nothing says where it is.
pub(super) fn missing_address(profile: &AttachProfile) -> Option<String> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_address = profile.spice.is_some()
        || [&profile.vv, &profile.control_socket].into_iter().any(Option::is_some)
        || ["BACKSTAFF_SPICE", "BACKSTAFF_VV", "BACKSTAFF_CONTROL_SOCKET"].into_iter().any(is_set);
    let why = "no address: `spice`, `vv` or `control_socket` under `[attach]`, or BACKSTAFF_SPICE, BACKSTAFF_VV or \
               BACKSTAFF_CONTROL_SOCKET";
    (!has_address).then(|| why.to_owned())
}
