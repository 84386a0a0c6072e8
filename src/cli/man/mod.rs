//! `backstaff man`: pages for `man`, one for each command, for `backstaff.toml` and for the Lua API.
//!
//! What they say comes from where the program itself has it: the arguments from clap, the keys of the project file from
//! its parser, the API from the reference. [`page`] knows roff.

mod lua;
mod page;
mod project;

use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use super::args::{Arguments, ColorChoice};
use super::exit::ExitCode;
use super::lane::up::say;
use super::run::{Refusal, look};
use page::Page;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Pages of ours that are there are written again; a file of one of these names that is somebody else's \
is named, and then nothing is written.\n\nExit codes: 0 the pages are written, 2 usage, or they cannot be written.\n\n\
Examples:\n  backstaff man target/man && man -l target/man/backstaff.1\n  \
backstaff man ~/.local/share/man/man1"
)]
pub(in crate::cli) struct ManCommand {
    /// The folder; it is made where it is missing.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(command: &ManCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let pages = pages();
    match store(&pages, &command.dir) {
        Ok(()) => {
            let first = command.dir.join(pages.first().map_or("", |page| &page.name));
            let _ = say(&format!(
                "{} pages written to {}\nread them with: man -l {}\n",
                pages.len(),
                command.dir.display(),
                first.display()
            ));
            ExitCode::PASSED
        }
        Err(refusal) => refusal.say(look),
    }
}

/// All pages, that of the program first.
fn pages() -> Vec<Page> {
    // Pages of `help` itself would say nothing.
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add_commands(&program, &mut pages);
    pages.extend([project::page(), lua::page()]);
    pages
}

fn add_commands(command: &clap::Command, pages: &mut Vec<Page>) {
    pages.push(page::of_command(command));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        add_commands(below, pages);
    }
}

fn store(pages: &[Page], dir: &Path) -> Result<(), Refusal> {
    let failed = |path: &Path, error: &std::io::Error| {
        Refusal::usage(format!("write {}: {error}", path.display()))
            .hint("name a folder that may be written to")
    };
    if dir.symlink_metadata().is_ok() && !dir.is_dir() {
        return Err(Refusal::usage(format!("{}: this is no folder", dir.display()))
            .hint("`backstaff man DIR` makes DIR, or writes into a folder that is there"));
    }
    for page in pages {
        let path = dir.join(&page.name);
        let is_ours = |bytes: Vec<u8>| bytes.starts_with(page::MARK.as_bytes());
        if path.symlink_metadata().is_ok() && !std::fs::read(&path).is_ok_and(is_ours) {
            return Err(Refusal::usage(format!("{}: this is no page of ours", path.display()))
                .hint("nothing was written; remove it, or name another DIR"));
        }
    }
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
    pages.iter().try_for_each(|page| {
        let path = dir.join(&page.name);
        std::fs::write(&path, &page.text).map_err(|error| failed(&path, &error))
    })
}
