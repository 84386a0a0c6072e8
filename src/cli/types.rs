//! `backstaff types`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::args::ColorChoice;
use super::exit::ExitCode;
use super::run::{complain, look};
use crate::reference::FILES;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 printed or written, 2 the folder cannot be written to, or usage.\n\nExamples:\n  backstaff \
types | less\n  backstaff types .backstaff/types    # and in .luarc.json: \"workspace.library\": [\".backstaff/types\"]"
)]
pub(super) struct TypesCommand {
    /// Write them as files into this folder, which is made when it is missing; older ones are replaced.
    #[arg(value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

/// Prints the types, or writes them.
pub(super) fn run(command: &TypesCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let written = match &command.dir {
        None => print(),
        Some(dir) => write(dir),
    };
    match written {
        Ok(()) => ExitCode::PASSED,
        Err((message, hint)) => {
            complain(look, &message, hint);
            ExitCode::USAGE
        }
    }
}

type Written = Result<(), (String, Option<&'static str>)>;

fn print() -> Written {
    let mut out = std::io::stdout().lock();
    let written =
        FILES.iter().try_for_each(|(_, text)| out.write_all(text.as_bytes())).and_then(|()| out.flush());
    match written {
        // A reader that went away, as `| head` does, has seen enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err((format!("the types cannot be written: {error}"), None))
        }
        _ => Ok(()),
    }
}

fn write(dir: &Path) -> Written {
    let failed = |path: &Path, error: &std::io::Error| {
        let message = format!("write {}: {error}", path.display());
        (message, Some("name a folder that may be written to, or none to print the types"))
    };
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
    for (name, text) in FILES {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|error| failed(&path, &error))?;
        let _ = writeln!(anstream::stdout(), "{}", path.display());
    }
    Ok(())
}
