//! `backstaff doctor`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::args::{ColorChoice, DoctorCommand};
use super::exit::ExitCode;
use super::run::{chain, complain, look};
use crate::lane::Profile;
use crate::lane::doctor::{AskedLane, DoctorConfig, Report, examine};
use crate::lane::platform_detect::DetectConfig;
use crate::report;
use crate::report::style::Look;
use crate::runner::{self, Project, ProjectError};

/// Says what this machine can do, on stdout.
pub(super) fn run(command: &DoctorCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let cwd = match std::env::current_dir() {
        Ok(cwd) => cwd,
        Err(error) => {
            complain(look, &format!("no working directory: {error}"), None);
            return ExitCode::USAGE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(look, &format!("cannot start the runtime: {error}"), None);
            return ExitCode::LANE_FAILED;
        }
    };
    let config = DoctorConfig {
        detect: DetectConfig::new(std::env::var_os("PATH").unwrap_or_default()),
        artifacts: cwd.join(&command.artifacts),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    let asked = asked_lane(command, &cwd);
    match runtime.block_on(examine_or_signal(&config, &asked, look)) {
        Ok(report) => say(&report, command.json, look),
        Err(code) => code,
    }
}

fn say(report: &Report, json: bool, look: Look) -> ExitCode {
    let text = match json {
        true => report::doctor::json(report),
        false => report::doctor::text(report, look),
    };
    let written = anstream::stdout().write_all(text.as_bytes());
    // A reader that went away, as `| head` does, changes nothing.
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        complain(look, &format!("the report cannot be written: {error}"), None);
    }
    if report.can_run { ExitCode::PASSED } else { ExitCode::LANE_FAILED }
}

async fn examine_or_signal(config: &DoctorConfig, asked: &AskedLane, look: Look) -> Result<Report, ExitCode> {
    let mut signals = Signals::watch().map_err(|error| {
        complain(look, &format!("cannot watch for signals: {error}"), None);
        ExitCode::LANE_FAILED
    })?;
    let cancel = CancellationToken::new();
    let examination = examine(config, asked, &cancel);
    tokio::pin!(examination);
    // Both arms only observe: the examination goes on after the select.
    let number = tokio::select! {
        report = &mut examination => return report.ok_or(ExitCode::BUG),
        number = signals.next() => number,
    };
    cancel.cancel();
    // Two seconds at most, in which the trial's machine and folder go.
    examination.await;
    complain(look, "interrupted", None);
    Err(ExitCode::signal(number))
}

/// What ends us early.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn watch() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The number of the next one. Cancel safe.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            _ = self.hangup.recv() => 1,
        }
    }
}

/// The lane that `backstaff run` would take here.
fn asked_lane(command: &DoctorCommand, cwd: &Path) -> AskedLane {
    let unloadable = |name: Option<&String>, error: &ProjectError| AskedLane::Unloadable {
        name: name.cloned(),
        why: chain(error),
        hint: error.hint(),
    };
    let scenarios = PathBuf::from("scenarios");
    let scripts = runner::discover(std::slice::from_ref(&scenarios)).unwrap_or_default();
    let first = scripts.first().unwrap_or(&scenarios);
    let project = match Project::find(first, &command.lane_dir, cwd) {
        Ok(project) => project,
        Err(error) => return unloadable(command.lane.as_ref(), &error),
    };
    let Some(name) = command.lane.as_ref().or(project.default_lane.as_ref()) else {
        return AskedLane::Any { hint: Some(project.how_to_name_a_lane()) };
    };
    match project.profile(name) {
        Ok(Profile::Qemu(profile)) => AskedLane::Profile(profile),
        Ok(Profile::Attach(profile)) => AskedLane::Attached { name: profile.name },
        Ok(Profile::Sim(profile)) => AskedLane::Simulated { name: profile.name },
        Err(error) => unloadable(Some(name), &error),
    }
}
