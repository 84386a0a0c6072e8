//! `backstaff completions`: scripts that have a shell ask this program what can follow. Its answers are made anew with
//! every TAB, so lanes, tags and scenarios are those of the folder the shell is in. No script is run for them, and
//! nothing is written.

mod names;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::engine::complete;
use clap_complete::env::{Elvish, EnvCompleter, Fish, Powershell, Shells, Zsh};

use super::args::{Arguments, ColorChoice};
use super::exit::ExitCode;
use super::lane::up::say;
use super::run::{complain, look};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is completed is asked of backstaff itself, with the lanes, tags and scenarios of the folder you are \
in. After an update the script stays as it is, unless `backstaff` moves.\n\nWhere it goes:\n  \
bash        backstaff completions bash > ~/.local/share/bash-completion/completions/backstaff\n  \
zsh         backstaff completions zsh > ~/.zfunc/_backstaff\n              \
with `fpath+=~/.zfunc; autoload -Uz compinit; compinit` in ~/.zshrc\n  \
fish        backstaff completions fish > ~/.config/fish/completions/backstaff.fish\n  \
elvish      backstaff completions elvish >> ~/.config/elvish/rc.elv\n  \
powershell  backstaff completions powershell >> $PROFILE\n\nExample, for this bash only:\n  \
source <(backstaff completions bash)"
)]
pub(in crate::cli) struct CompletionsCommand {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    /// The GNU shell, also as old as on macOS.
    Bash,
    /// With descriptions beside the names.
    Zsh,
    /// With descriptions beside the names.
    Fish,
    /// The expressive one.
    Elvish,
    /// PowerShell, on any system.
    Powershell,
}

impl Shell {
    fn completer(self) -> &'static dyn EnvCompleter {
        match self {
            Self::Bash => &Bash,
            Self::Zsh => &Zsh,
            Self::Fish => &Fish,
            Self::Elvish => &Elvish,
            Self::Powershell => &Powershell,
        }
    }
}

/// Prints the script of a shell.
pub(super) fn run(command: &CompletionsCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let mut script = Vec::new();
    let written = command.shell.completer().write_registration(VARIABLE, NAME, NAME, &program(), &mut script);
    match written.and_then(|()| say(&String::from_utf8_lossy(&script))) {
        Ok(()) => ExitCode::PASSED,
        Err(error) => {
            complain(look, &format!("the script cannot be written: {error}"), None);
            ExitCode::USAGE
        }
    }
}

/// Answers a shell's script, if it is one that asks.
pub(super) fn answer() -> Option<ExitCode> {
    std::env::var_os(VARIABLE)?;
    let folder = std::env::current_dir().ok();
    let environment = clap_complete::CompleteEnv::with_factory(|| names::add(Arguments::command()))
        .var(VARIABLE)
        .bin(NAME)
        .shells(Shells(&[&Bash, &Elvish, &Fish, &Powershell, &Zsh]));
    match environment.try_complete(std::env::args_os(), folder.as_deref()) {
        Ok(true) => Some(ExitCode::PASSED),
        Ok(false) => None,
        Err(error) => {
            let _ = error.print();
            Some(ExitCode::USAGE)
        }
    }
}

/// How the script calls this program: by its name if it was called so, otherwise by its place.
fn program() -> String {
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_else(|| PathBuf::from(NAME));
    let is_name = called.parent().is_none_or(|folder| folder == Path::new(""));
    let place = if is_name { called } else { std::path::absolute(&called).unwrap_or(called) };
    place.to_string_lossy().into_owned()
}

/// Bash, which takes words apart at `=` and `:` where this program does not.
struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(
        &self,
        variable: &str,
        _name: &str,
        bin: &str,
        completer: &str,
        out: &mut dyn Write,
    ) -> std::io::Result<()> {
        let quoted = format!("'{}'", completer.replace('\'', r"'\''"));
        let script = include_str!("backstaff.bash");
        let script =
            script.replace("@VARIABLE@", variable).replace("@PROGRAM@", &quoted).replace("@NAME@", bin);
        out.write_all(script.as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        words: Vec<std::ffi::OsString>,
        folder: Option<&Path>,
        out: &mut dyn Write,
    ) -> std::io::Result<()> {
        let last = words.len().saturating_sub(1);
        for candidate in complete(command, words, last, folder)? {
            let value = candidate.get_value().to_string_lossy();
            if !value.contains('\n') {
                writeln!(out, "{value}")?;
            }
        }
        Ok(())
    }
}

const NAME: &str = "backstaff";
/// What scripts set when they ask.
const VARIABLE: &str = "BACKSTAFF_COMPLETE";
