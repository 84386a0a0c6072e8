//! `backstaff lane`.

mod plan;

use super::args::{ColorChoice, LaneCommand};
use super::exit::ExitCode;

/// Runs one of the commands about lanes.
pub(super) fn run(command: LaneCommand, color: ColorChoice) -> ExitCode {
    match command {
        LaneCommand::Plan(command) => plan::run(command, color),
    }
}
