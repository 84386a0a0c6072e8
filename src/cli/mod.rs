//! Arguments in, exit code out. The only place that touches the terminal, reads the environment, or decides how the
//! process ends.
//!
//! Start reading at [`main`]; [`args`] is what people can type, [`exit`] what the process answers.

mod args;
mod check;
mod completions;
mod control;
mod digest;
mod doctor;
pub mod exit;
mod flakes;
mod init;
mod lane;
mod list;
mod logging;
mod man;
mod record;
mod repl;
mod replay;
mod report;
mod run;
mod select;
mod serve;
mod trace;
mod types;
mod version;

use std::io::IsTerminal as _;

use clap::Parser as _;

use args::{Arguments, Command};
use exit::ExitCode;

/// Runs the program and returns how the process should end, also when that is a bug of ours.
pub fn main() -> ExitCode {
    // The panic itself is on stderr by then.
    std::panic::catch_unwind(run_command).unwrap_or(ExitCode::BUG)
}

/// Says what is wrong with the arguments of a command line, as those of the documentation; asking for help is right.
///
/// # Errors
/// What the user would be told.
pub fn check_command_line(words: &[String]) -> Result<(), String> {
    let program = std::iter::once("backstaff");
    match Arguments::try_parse_from(program.chain(words.iter().map(String::as_str))) {
        Err(error) if error.use_stderr() => Err(error.to_string()),
        _ => Ok(()),
    }
}

fn run_command() -> ExitCode {
    if let Some(code) = completions::answer() {
        return code;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // `--help` and `--version` arrive here as well; clap knows which stream they belong to.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::USAGE } else { ExitCode::PASSED };
        }
    };
    logging::install(arguments.verbose);
    match arguments.command {
        Command::Run(command) => run::run(*command, arguments.color, arguments.verbose > 0),
        Command::Repl(command) => repl::run(command, arguments.color),
        Command::List(command) => list::run(&command, arguments.color),
        Command::Check(command) => check::run(&command, arguments.color),
        Command::Types(command) => types::run(&command, arguments.color),
        Command::Replay(command) => replay::run(&command, arguments.color),
        Command::Flakes(command) => flakes::run(&command, arguments.color),
        Command::Report(command) => report::run(command, arguments.color),
        Command::Trace(command) => trace::run(&command, arguments.color),
        Command::Serve(command) => serve::run(&command, arguments.color),
        Command::Doctor(command) => doctor::run(&command, arguments.color),
        Command::Control(command) => control::run(command, arguments.color),
        Command::Init(command) => init::run(&command, arguments.color),
        Command::Record(command) => record::run(&command, arguments.color),
        Command::Completions(command) => completions::run(&command, arguments.color),
        Command::Man(command) => man::run(&command, arguments.color),
        Command::Lane { command } => command.run(arguments.color),
        Command::Digest { command } => {
            let mut out = std::io::stdout();
            let is_terminal = out.is_terminal();
            ExitCode(command.run(&mut out, is_terminal, &mut anstream::stderr()))
        }
    }
}
