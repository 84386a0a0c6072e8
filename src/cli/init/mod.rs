//! `backstaff init`: a folder for scenarios that runs at once. What is there already is never touched.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use clap::ValueEnum;

use super::args::ColorChoice;
use super::exit::ExitCode;
use super::lane::up::say;
use super::run::{Refusal, look};
use crate::report::style::{Look, Tone};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is there already is kept, and named. Exit codes: 0 everything is there, 2 usage, or something cannot \
be written.\n\nExamples:\n  backstaff init\n  backstaff init console-tests --ci gitlab\n  backstaff init --dry-run"
)]
pub(in crate::cli) struct InitCommand {
    /// The folder; it is made where it is missing.
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// For which CI a workflow is written.
    #[arg(long, value_name = "KIND", default_value = "github")]
    ci: Ci,
    /// Say what would be written, and write nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ci {
    /// `.github/workflows/backstaff.yml`.
    Github,
    /// `.gitlab-ci.yml`.
    Gitlab,
    /// No workflow.
    None,
}

/// A file of the new folder.
struct NewFile {
    /// Its path in the folder.
    path: &'static str,
    /// What it is, for people.
    what: &'static str,
    text: String,
    /// What to do where a file of this name is kept and says something else.
    advice: Option<&'static str>,
}

/// What becomes of a file.
enum Fate {
    /// It is missing, and written.
    Write,
    /// It is there, byte by byte.
    Same,
    /// Something else of this name is there.
    Keep,
    /// Its kind is there under other names.
    Spare(&'static str),
}

pub(super) fn run(command: &InitCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let result = prepare(command).and_then(|plan| plan.carry_out(command.dry_run).map(|()| plan));
    match result {
        Ok(plan) => {
            let _ = say(&plan.tell(command, look));
            ExitCode::PASSED
        }
        Err(refusal) => refusal.say(look),
    }
}

/// What is to be done, looked at before anything is.
struct Plan {
    dir: PathBuf,
    files: Vec<(NewFile, Fate)>,
    /// Where the folder lies in a git checkout, when that is not its root.
    below: Option<String>,
}

fn prepare(command: &InitCommand) -> Result<Plan, Refusal> {
    let dir = command.dir.clone();
    if dir.symlink_metadata().is_ok() && !dir.is_dir() {
        return Err(Refusal::usage(format!("{}: this is no folder", dir.display()))
            .hint("`backstaff init DIR` makes DIR, or adds to a folder that is there"));
    }
    let below = place_in_checkout(&dir);
    let files = files(command.ci, below.as_deref());
    files.iter().try_for_each(|file| check_folders(&dir, file))?;
    let files = files.into_iter().map(|file| (fate(&dir, &file), file)).map(|(fate, file)| (file, fate));
    Ok(Plan { files: files.collect(), below, dir })
}

/// Every folder on the way to the file is one, or can become one.
fn check_folders(dir: &Path, file: &NewFile) -> Result<(), Refusal> {
    let folders = Path::new(file.path).ancestors().skip(1).filter(|folder| *folder != Path::new(""));
    let wrong = |folder: &Path| folder.symlink_metadata().is_ok() && !folder.is_dir();
    match folders.map(|folder| dir.join(folder)).find(|folder| wrong(folder)) {
        Some(folder) => Err(Refusal::usage(format!(
            "{}: this is no folder, and {} goes there",
            folder.display(),
            file.path
        ))
        .hint("nothing was written; rename it, or name another DIR")),
        None => Ok(()),
    }
}

fn fate(dir: &Path, file: &NewFile) -> Fate {
    let path = dir.join(file.path);
    if path.symlink_metadata().is_ok() {
        let is_same = std::fs::read(&path).is_ok_and(|bytes| bytes == file.text.as_bytes());
        return if is_same { Fate::Same } else { Fate::Keep };
    }
    let has = |folder: &str, extension: &str| {
        let entries = std::fs::read_dir(dir.join(folder)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|it| it == extension))
    };
    match file.path {
        FIRST if has("scenarios", "lua") => Fate::Spare("there are scenarios"),
        MACHINE if has("lanes", "toml") || has("scenarios/lanes", "toml") => Fate::Spare("there are lanes"),
        PROJECT if dir.join("scenarios").join(PROJECT).exists() => Fate::Spare("scenarios/ has one"),
        _ => Fate::Write,
    }
}

impl Plan {
    fn carry_out(&self, is_dry: bool) -> Result<(), Refusal> {
        if is_dry {
            return Ok(());
        }
        let mut written: Vec<&str> = Vec::new();
        for (file, _) in self.files.iter().filter(|(_, fate)| matches!(fate, Fate::Write)) {
            store(&self.dir.join(file.path), &file.text).map_err(|error| {
                let done = match &*written {
                    [] => "nothing was written".to_owned(),
                    written => format!("written before that: {}", written.join(", ")),
                };
                Refusal::usage(format!("write {}: {error}", self.dir.join(file.path).display()))
                    .hint(format!("{done}; `backstaff init` again adds what is missing"))
            })?;
            written.push(file.path);
        }
        Ok(())
    }

    fn tell(&self, command: &InitCommand, look: Look) -> String {
        let mut text = String::new();
        let count = |of: fn(&Fate) -> bool| self.files.iter().filter(|(_, fate)| of(fate)).count();
        let to_write = count(|fate| matches!(fate, Fate::Write));
        if to_write == 0 && count(|fate| !matches!(fate, Fate::Same)) == 0 {
            let _ =
                writeln!(text, "nothing to do: all {} files are there as they should be", self.files.len());
            return text;
        }
        let width = self.files.iter().map(|(file, _)| file.path.len()).max().unwrap_or(0);
        for (file, fate) in &self.files {
            let (word, tone, note) = match fate {
                Fate::Write if command.dry_run => ("would write", Tone::Good, file.what.to_owned()),
                Fate::Write => ("wrote", Tone::Good, file.what.to_owned()),
                Fate::Same => ("kept", Tone::Faint, "as it should be".to_owned()),
                Fate::Keep => ("kept", Tone::Warn, self.advice(file)),
                Fate::Spare(why) => ("left out", Tone::Faint, (*why).to_owned()),
            };
            let word = format!("{word:<width$}", width = if command.dry_run { 11 } else { 8 });
            let place = format!("{:<width$}", file.path);
            // A narrow terminal has no room for what is said beside.
            let line = match look.width >= ROOMY && !note.is_empty() {
                true => format!("{} {}  {note}", look.paint(tone, word), look.paint(Tone::Place, place)),
                false => format!("{} {}", look.paint(tone, word), look.paint(Tone::Place, file.path)),
            };
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push_str(&self.ending(command, to_write, look));
        text
    }

    /// What to do about a file that is not ours.
    fn advice(&self, file: &NewFile) -> String {
        let kept = std::fs::read_to_string(self.dir.join(file.path)).unwrap_or_default();
        let has_it = match file.path {
            IGNORED => kept.lines().any(|line| ["logs", "logs/", "/logs", "/logs/"].contains(&line.trim())),
            LUARC | EMMYRC => kept.contains(TYPES_FOLDER),
            _ => false,
        };
        match file.advice {
            Some(advice) if !has_it => advice.to_owned(),
            _ => "it was there before".to_owned(),
        }
    }

    fn ending(&self, command: &InitCommand, to_write: usize, look: Look) -> String {
        let mut text = String::new();
        if command.dry_run {
            let _ = writeln!(text, "\nnothing was written; {} would be", files_of(to_write));
            return text;
        }
        if to_write == 0 {
            text.push_str("\nnothing was written: everything is there\n");
            return text;
        }
        let _ = writeln!(text, "\n{} written", files_of(to_write));
        let workflow = self.files.iter().find(|(file, _)| [GITHUB, GITLAB].contains(&file.path));
        if let (Some((file, Fate::Write)), Some(below)) = (workflow, &self.below) {
            let _ = writeln!(
                text,
                "note: CI reads {} at the root of the repository only; move it there (it goes to {below} by itself)",
                file.path
            );
        }
        text.push_str("\nnext:\n");
        if command.dir != Path::new(".") {
            let _ = writeln!(text, "  cd {}", quoted(&command.dir));
        }
        for (command, why) in NEXT {
            let _ = match look.width >= ROOMY {
                true => writeln!(text, "  {command:<28} {why}"),
                false => writeln!(text, "  {command}"),
            };
        }
        text
    }
}

/// The commands that a newcomer goes on with.
const NEXT: [(&str, &str); 5] = [
    ("backstaff run", "run the scenarios, here on the simulated lane"),
    ("backstaff trace html", "make a page of what happened"),
    ("$EDITOR scenarios/first.lua", "change it; your editor knows the names"),
    ("backstaff check", "find mistakes without running anything"),
    ("backstaff lane plan machine", "see what a machine of your own lacks"),
];

fn files_of(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// As a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) && !text.starts_with('-') {
        true => text,
        false => format!("-- '{}'", text.replace('\'', r"'\''")),
    }
}

/// Makes a file that is not there, with the folders on its way. One that could not be written to its end is taken away.
fn store(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Whoever makes it in this moment keeps it.
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = file.write_all(text.as_bytes());
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

/// The way from the root of the git checkout that the folder lies in, unless it is that root or in none.
fn place_in_checkout(dir: &Path) -> Option<String> {
    let dir = std::path::absolute(dir).ok()?;
    // What is there is named as the system names it, the rest as it was asked for.
    let there = dir.ancestors().find(|folder| folder.is_dir())?;
    let rest = dir.strip_prefix(there).ok()?;
    let whole = there.canonicalize().ok()?.join(rest);
    let root = whole.ancestors().find(|folder| folder.join(".git").exists())?;
    let way = whole.strip_prefix(root).ok()?;
    let is_straight = way.components().all(|part| matches!(part, Component::Normal(_)));
    way.to_str().filter(|way| is_straight && !way.is_empty()).map(str::to_owned)
}

fn files(ci: Ci, below: Option<&str>) -> Vec<NewFile> {
    let file = |path, what, text: &str| NewFile { path, what, text: text.to_owned(), advice: None };
    let library = Some("there before; add \".backstaff/types\" to its workspace library");
    let mut files = vec![
        file(PROJECT, "the project: its lane", include_str!("backstaff.toml")),
        file(FIRST, "an example to change", include_str!("first.lua")),
        file(MACHINE, "a machine of your own", include_str!("machine.toml")),
        NewFile {
            advice: Some("of another version; `backstaff types .backstaff/types` writes it anew"),
            ..file(TYPES, "what editors know of the API", crate::reference::FILES[0].1)
        },
        NewFile { advice: library, ..file(LUARC, "for the Lua language server", include_str!("luarc.json")) },
        NewFile { advice: library, ..file(EMMYRC, "for EmmyLua", include_str!("emmyrc.json")) },
        NewFile {
            advice: Some("there before; add the line `logs/`"),
            ..file(IGNORED, "what runs make stays out of git", include_str!("gitignore"))
        },
    ];
    match ci {
        Ci::Github => files.push(file(GITHUB, "a workflow", &workflow(include_str!("github.yml"), below))),
        Ci::Gitlab => files.push(file(GITLAB, "a pipeline", &workflow(include_str!("gitlab.yml"), below))),
        Ci::None => {}
    }
    files
}

/// The workflow for a folder below the root of a repository.
fn workflow(template: &str, below: Option<&str>) -> String {
    // A string of JSON is one of YAML.
    let text = |path: String| serde_json::Value::String(path).to_string();
    let plain = |path: String| {
        if path.contains(|c: char| !c.is_alphanumeric() && !"/._-".contains(c)) { text(path) } else { path }
    };
    let inside = |path: &str| plain(below.map_or_else(|| path.to_owned(), |below| format!("{below}/{path}")));
    template
        .replace("@FOLDER@", &plain(below.unwrap_or(".").to_owned()))
        .replace("@LOGS@", &inside("logs/"))
        .replace("@JUNIT@", &inside("logs/junit.xml"))
}

/// Columns for what is said beside a name.
const ROOMY: usize = 72;

const PROJECT: &str = "backstaff.toml";
const FIRST: &str = "scenarios/first.lua";
const MACHINE: &str = "lanes/machine.toml";
const TYPES: &str = ".backstaff/types/backstaff.lua";
const TYPES_FOLDER: &str = ".backstaff/types";
const LUARC: &str = ".luarc.json";
const EMMYRC: &str = ".emmyrc.json";
const IGNORED: &str = ".gitignore";
const GITHUB: &str = ".github/workflows/backstaff.yml";
const GITLAB: &str = ".gitlab-ci.yml";
