//! What is called how in the folder a shell is in: lanes, tags, scenarios, scripts.
//!
//! Scripts are read, never run: a TAB must not start anything, and a script is a stranger's.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Command;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use regex_lite::Regex;

use crate::console::Scancode;
use crate::report::target::kinds;
use crate::runner::project::BUILT_IN_LANE;
use crate::runner::{NO_LANE, Project, discover};

/// Tells every command, also those that come later, what values its arguments have.
pub(super) fn add(command: Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|it| it.get_name().to_owned()).collect();
    let names_a_lane = ["plan", "up"].contains(&command.get_name());
    let command = names.into_iter().fold(command, |command, name| command.mut_subcommand(name, add));
    command.mut_args(|argument| {
        let completer = match argument.get_id().as_str() {
            "lane" => ArgValueCompleter::new(|current: &OsStr| lanes(current, true)),
            "name" if names_a_lane => ArgValueCompleter::new(|current: &OsStr| lanes(current, false)),
            "tag" => ArgValueCompleter::new(tags),
            "filter" | "exclude" => ArgValueCompleter::new(filters),
            "report" => ArgValueCompleter::new(reports),
            "paths" | "scripts" => ArgValueCompleter::new(scripts),
            "keys" => ArgValueCompleter::new(keys),
            _ => return argument,
        };
        argument.add(completer)
    })
}

fn lanes(current: &OsStr, may_be_none: bool) -> Vec<CompletionCandidate> {
    let words = Words::of_the_shell();
    let project = std::env::current_dir().ok().and_then(|cwd| match words.scripts().first() {
        Some(script) => Project::find(script, &words.lane_dirs, &cwd).ok(),
        None => Project::find_here(&words.lane_dirs, &cwd).ok(),
    });
    let mut names = project.map(|project| project.lanes()).unwrap_or_default();
    names.push(BUILT_IN_LANE.to_owned());
    names.extend(may_be_none.then(|| NO_LANE.to_owned()));
    candidates(names, current)
}

fn tags(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(Declared::read().tags, current)
}

/// Names of scenarios, and the questions that a filter can ask.
fn filters(current: &OsStr) -> Vec<CompletionCandidate> {
    let declared = Declared::read();
    let mut texts: Vec<String> = declared.tags.iter().map(|tag| format!("tag({tag})")).collect();
    texts.extend(["name(", "file(", "case(", "lane(", "capability("].map(str::to_owned));
    texts.splice(0..0, declared.names);
    candidates(texts, current)
}

/// A kind, then a path.
fn reports(current: &OsStr) -> Vec<CompletionCandidate> {
    let text = current.to_string_lossy();
    let Some((kind, path)) = text.split_once('=') else {
        return candidates(kinds().into_iter().map(|kind| format!("{kind}=")).collect(), current);
    };
    let paths = PathCompleter::any().complete(OsStr::new(path));
    paths.into_iter().map(|path| path.add_prefix(format!("{kind}="))).collect()
}

fn scripts(current: &OsStr) -> Vec<CompletionCandidate> {
    PathCompleter::any().filter(is_script).complete(current)
}

fn keys(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(Scancode::names().map(str::to_owned).collect(), current)
}

fn candidates(mut values: Vec<String>, current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let mut seen = std::collections::BTreeSet::new();
    values.retain(|value| value.starts_with(&*current) && seen.insert(value.clone()));
    values.into_iter().map(CompletionCandidate::new).collect()
}

fn is_script(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "lua")
}

/// What is known of the command line so far.
struct Words {
    lane_dirs: Vec<PathBuf>,
    /// Scripts and folders, as they were named.
    paths: Vec<PathBuf>,
}

impl Words {
    /// The words behind `--`, where scripts of shells put them; the last is what is being typed.
    fn of_the_shell() -> Self {
        let mut words: Vec<PathBuf> =
            std::env::args_os().skip_while(|word| word != "--").skip(2).map(PathBuf::from).collect();
        words.pop();
        let named =
            words.iter().zip(words.iter().skip(1)).filter(|(option, _)| *option == Path::new("--lane-dir"));
        let mut lane_dirs: Vec<PathBuf> = named.map(|(_, dir)| dir.clone()).collect();
        let joined = |word: &PathBuf| Some(PathBuf::from(word.to_str()?.strip_prefix("--lane-dir=")?));
        lane_dirs.extend(words.iter().filter_map(joined));
        let is_path = |word: &PathBuf| is_script(word) || word.components().count() > 1 || word.is_dir();
        let mut paths: Vec<PathBuf> =
            words.into_iter().filter(is_path).filter(|word| word.exists()).collect();
        paths.retain(|path| !lane_dirs.contains(path));
        Self { lane_dirs, paths }
    }

    fn scripts(&self) -> Vec<PathBuf> {
        let default = [PathBuf::from("scenarios")];
        let paths: &[PathBuf] = if self.paths.is_empty() { &default } else { &self.paths };
        paths.iter().filter_map(|path| discover(std::slice::from_ref(path)).ok()).flatten().collect()
    }
}

/// What scripts declare, as far as it stands in their text.
#[derive(Default)]
struct Declared {
    names: Vec<String>,
    tags: Vec<String>,
}

impl Declared {
    fn read() -> Self {
        let mut declared = Self::default();
        // Somebody waits for a TAB: what was found by then must do.
        let limit = Instant::now() + PATIENCE;
        for script in Words::of_the_shell().scripts() {
            if Instant::now() > limit {
                break;
            }
            let mut text = Vec::new();
            let read =
                std::fs::File::open(&script).and_then(|file| file.take(LARGEST).read_to_end(&mut text));
            if read.is_ok() {
                declared.take(&String::from_utf8_lossy(&text));
            }
        }
        declared.tags.sort();
        declared
    }

    fn take(&mut self, text: &str) {
        // Comments are left out where they begin a line; what is behind code is read as code.
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("--"))
            .flat_map(|line| [line, "\n"])
            .collect();
        let found = |pattern: &str| Regex::new(pattern).expect("a pattern of ours");
        let quoted = found(r#""([^"\\\n]+)"|'([^'\\\n]+)'"#);
        let unquote = |text: &str| {
            let captured = quoted.captures(text)?;
            captured.get(1).or_else(|| captured.get(2)).map(|it| it.as_str().to_owned())
        };
        let names = found(r#"(?:^|[^\w.])scenario(?:\.only)?\s*\(\s*("[^"\n]+"|'[^'\n]+')"#);
        self.names.extend(names.captures_iter(&code).filter_map(|it| unquote(it.get(1)?.as_str())));
        let tags = found(r"(?:^|\W)tags\s*=\s*\{([^}]*)\}");
        for list in tags.captures_iter(&code).filter_map(|it| it.get(1)) {
            self.tags.extend(quoted.find_iter(list.as_str()).filter_map(|tag| unquote(tag.as_str())));
        }
    }
}

const PATIENCE: Duration = Duration::from_millis(200);
const LARGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tags_are_read_from_the_text() {
        let mut declared = Declared::default();
        declared.take(
            "scenario(\"one\", { tags = { \"smoke\", 'slow' } }, f)\n-- scenario('not this')\n\
             scenario.only( 'two',\n  { tags={} }, f) local my_scenario('three')\nscenario(name, {})",
        );
        assert_eq!(
            (declared.names, declared.tags),
            (vec!["one".to_owned(), "two".to_owned()], vec!["smoke".to_owned(), "slow".to_owned()])
        );
    }
}
