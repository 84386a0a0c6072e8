//! `backstaff list`.

use clap::{Args, ValueEnum};

use super::args::ColorChoice;
use super::exit::ExitCode;
use super::run::{Refusal, chain, complain, look};
use super::select::{SelectArgs, Selected};
use crate::report;
use crate::runner::{LoadError, shard};

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 listed, 2 usage, 3 a script does not load, 4 nothing selected.\n\nExamples:\n  backstaff \
list\n  backstaff list scenarios --filter 'tag(smoke) and not lane(sextant)'\n  backstaff list --format json | jq -r \
'.tests[].id'"
)]
pub(super) struct ListCommand {
    #[command(flatten)]
    pub(super) select: SelectArgs,
    /// How to print the list.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: ListFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    /// For people: by script, with lanes, tags and needs.
    Text,
    /// A JSON document.
    Json,
    /// Only the ids, a line each.
    Ids,
}

/// Says which tests would run, without a lane and without writing anything.
pub(super) fn run(command: &ListCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let selected = match command.select.resolve() {
        Ok(selected) => selected,
        Err(refusal) => return refusal.say(look),
    };
    let Selected { scripts, project, lane, selection, shard, timings, working_dir, .. } = &selected;
    if let Err(error) = project.check_lane(lane) {
        return Refusal::from(error).say(look);
    }
    let mut loaded = selection.load(scripts, lane, working_dir);
    let ids: Vec<&str> = loaded.tests.iter().map(|test| test.id.as_str()).collect();
    let list_tests = ids.len();
    let list_digest = shard::list_digest(ids.iter().copied());
    if let Some(shard) = shard {
        let mut mine = shard::split(&ids, |id| timings.of(id), *shard).into_iter();
        loaded.tests.retain(|_| mine.next().unwrap_or(false));
    }
    let list = report::list::List { loaded: &loaded, shard: *shard, list_tests, list_digest, timings };
    let mut out = std::io::BufWriter::new(anstream::stdout());
    let written = match command.format {
        ListFormat::Text => report::list::text(&list, look, &mut out),
        ListFormat::Json => report::list::json(&list, &mut out),
        ListFormat::Ids => report::list::ids(&list, &mut out),
    };
    let written = written.and_then(|()| std::io::Write::flush(&mut out));
    // A reader that went away, as `| head` does, has seen enough.
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        complain(look, &format!("the list cannot be written: {error}"), None);
        return ExitCode::LANE_FAILED;
    }
    for failed in &loaded.failed {
        let text = match &failed.error {
            LoadError::Script(failure) => {
                report::failure::render(failure, failed.script.as_ref(), None, 0, look)
            }
            error @ LoadError::Read { .. } => chain(error),
        };
        complain(look, &format!("a script does not load: {}", text.trim_end()), None);
    }
    // An empty part of a list is as it should be.
    match (loaded.failed.is_empty(), list_tests == 0) {
        (false, _) => ExitCode::NOT_LOADED,
        (true, true) => {
            super::run::nothing_ran(look, loaded.declared);
            ExitCode::NOTHING
        }
        (true, false) => ExitCode::PASSED,
    }
}
