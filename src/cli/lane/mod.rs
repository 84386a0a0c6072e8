//! `backstaff lane`: what there is to know about lanes without running scenarios on them.

mod list;
mod plan;
pub(in crate::cli) mod up;

use super::args::{ColorChoice, LanePlanCommand};
use super::exit::ExitCode;

/// What `backstaff lane` can do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum LaneCommand {
    /// List the lane profiles there are, and what is wrong with them.
    List(list::ListCommand),
    /// Print what a lane comes to on this host, and do nothing else: no process, no socket, no file.
    Plan(LanePlanCommand),
    /// Boot a lane and hold it for people to join, until Ctrl-C.
    Up(up::UpCommand),
}

impl LaneCommand {
    pub(super) fn run(self, color: ColorChoice) -> ExitCode {
        match self {
            Self::List(command) => list::run(&command, color),
            Self::Plan(command) => plan::run(command, color),
            Self::Up(command) => up::run(&command, color),
        }
    }
}
