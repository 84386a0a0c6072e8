//! `backstaff lane`: what is known about lanes without running scenarios on them.

mod list;

use super::args::ColorChoice;
use super::exit::ExitCode;

/// What `backstaff lane` can do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum LaneCommand {
    /// List the lane profiles there are, and what is wrong with them.
    List(list::ListCommand),
}

impl LaneCommand {
    pub(super) fn run(self, color: ColorChoice) -> ExitCode {
        match self {
            Self::List(command) => list::run(&command, color),
        }
    }
}
