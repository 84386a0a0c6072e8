//! Which tests the command line asks for: the same for `run` and `list`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::run::{Refusal, chain};
use crate::journal::run::{RunRecord, Shard, Timings, load};
use crate::runner::filter::Filter;
use crate::runner::{self, Project, Selection};

/// What `run` and `list` have in common.
#[derive(Debug, Args)]
pub(super) struct SelectArgs {
    /// Scripts, and folders to search for `*.lua` [default: scenarios].
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// The lane of scenarios that name none; profiles are `NAME.toml` in `lanes` beside the script, in the project, or in
    /// `--lane-dir`.
    #[arg(long, value_name = "NAME", env = "BACKSTAFF_LANE")]
    pub(super) lane: Option<String>,
    /// A further folder with lane profiles, searched first.
    #[arg(long, value_name = "DIR")]
    pub(super) lane_dir: Vec<PathBuf>,
    /// Only tests that this means: text in names and files, or questions such as `tag(smoke) and not lane(sextant)`.
    /// Questions: name, file, tag, lane, capability, case; `(=text)` equal, `(~text)` contains, `(/regex/)`. Several: any.
    #[arg(short, long, value_name = "EXPR", value_parser = parse_filter)]
    pub(super) filter: Vec<Filter>,
    /// None of the tests that this means.
    #[arg(long, value_name = "EXPR", value_parser = parse_filter)]
    pub(super) exclude: Vec<Filter>,
    /// Only scenarios with this tag. Several: any.
    #[arg(long, value_name = "TAG")]
    pub(super) tag: Vec<String>,
    /// Only part I of N [default: what CI says of its parallel jobs]; `/N` takes I from there. `1/1` is all.
    #[arg(long, value_name = "I/N", env = "BACKSTAFF_SHARD", value_parser = parse_shard)]
    pub(super) shard: Option<ShardArg>,
    /// Durations of earlier runs, by which parts take equally long and the longest begin first; `backstaff report
    /// --timings FILE` writes them.
    #[arg(long, value_name = "FILE", env = "BACKSTAFF_TIMINGS")]
    pub(super) timings: Option<PathBuf>,
    /// Only tests that did not pass in the newest run below `--artifacts`.
    #[arg(long)]
    pub(super) failed: bool,
    /// Where runs make their folders.
    #[arg(long, value_name = "DIR", default_value = "logs", env = "BACKSTAFF_ARTIFACTS")]
    pub(super) artifacts: PathBuf,
}

/// The part that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShardArg {
    /// From 1; none: CI knows.
    index: Option<u32>,
    total: u32,
}

/// What was asked for, with everything it needs read from disk.
pub(super) struct Selected {
    pub(super) scripts: Vec<PathBuf>,
    pub(super) project: Project,
    pub(super) lane: String,
    pub(super) selection: Selection,
    pub(super) shard: Option<Shard>,
    /// Which variables said so, when nobody asked for a part.
    pub(super) shard_from: Option<&'static str>,
    pub(super) timings: Timings,
    pub(super) working_dir: PathBuf,
}

impl SelectArgs {
    pub(super) fn resolve(&self) -> Result<Selected, Refusal> {
        let working_dir = std::env::current_dir()
            .map_err(|error| Refusal::usage(format!("no working directory: {error}")))?;
        let only_ids = match self.failed {
            true => Some(failed_last_time(&self.artifacts)?),
            false => None,
        };
        let paths = match self.paths.is_empty() {
            true => vec![PathBuf::from("scenarios")],
            false => self.paths.clone(),
        };
        let scripts = runner::discover(&paths)?;
        let first = scripts.first().cloned().unwrap_or_default();
        let project = Project::find(&first, &self.lane_dir, &working_dir)?;
        let lane = project.lane(self.lane.clone());
        let (shard, shard_from) = resolve_shard(self.shard, |name| std::env::var(name).ok())?;
        let timings = match &self.timings {
            Some(file) => Timings::load(file).map_err(|error| {
                Refusal::usage(chain(&error))
                    .hint("`backstaff report RUN… --timings FILE` writes such a file")
            })?,
            None => Timings::default(),
        };
        let selection = Selection {
            filters: self.filter.clone(),
            excluded: self.exclude.clone(),
            tags: self.tag.clone(),
            only_ids,
            refuses_only: is_ci(),
        };
        Ok(Selected { scripts, project, lane, selection, shard, shard_from, timings, working_dir })
    }
}

/// Whether nobody watches: prompts and what somebody works on for the moment have no place here.
pub(super) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    Filter::parse(text).map_err(|error| error.to_string())
}

fn parse_shard(text: &str) -> Result<ShardArg, String> {
    let wrong = || format!("wants I/N with I from 1 to N, such as 2/5, got `{text}`");
    let (index, total) = text.split_once('/').ok_or_else(wrong)?;
    let total: u32 = total.trim().parse().ok().filter(|&total| total > 0).ok_or_else(wrong)?;
    let index = match index.trim() {
        "" => None,
        index => Some(index.parse().ok().filter(|index| (1..=total).contains(index)).ok_or_else(wrong)?),
    };
    Ok(ShardArg { index, total })
}

/// What CI says of its parallel jobs: the variables, and whether the index counts from 0.
const CI_SHARDS: [(&str, &str, &str, bool); 4] = [
    ("CI_NODE_INDEX", "CI_NODE_TOTAL", "CI_NODE_INDEX and CI_NODE_TOTAL", false),
    (
        "BUILDKITE_PARALLEL_JOB",
        "BUILDKITE_PARALLEL_JOB_COUNT",
        "BUILDKITE_PARALLEL_JOB and BUILDKITE_PARALLEL_JOB_COUNT",
        true,
    ),
    ("CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", "CIRCLE_NODE_INDEX and CIRCLE_NODE_TOTAL", true),
    (
        "SYSTEM_JOBPOSITIONINPHASE",
        "SYSTEM_TOTALJOBSINPHASE",
        "SYSTEM_JOBPOSITIONINPHASE and SYSTEM_TOTALJOBSINPHASE",
        false,
    ),
];
/// Kubernetes says which of an indexed job's pods this is, but not how many there are.
const POD_INDEX: &str = "JOB_COMPLETION_INDEX";

fn resolve_shard(
    asked: Option<ShardArg>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(Option<Shard>, Option<&'static str>), Refusal> {
    let number = |name: &str| variable(name)?.trim().parse::<u32>().ok();
    if let Some(ShardArg { index: Some(index), total }) = asked {
        return Ok((Some(Shard { index, total }).filter(|shard| shard.total > 1), None));
    }
    for (index_name, total_name, names, from_zero) in CI_SHARDS {
        let (Some(index), Some(total)) = (number(index_name), number(total_name)) else { continue };
        let index = index.saturating_add(u32::from(from_zero));
        let total_fits = asked.is_none_or(|asked| asked.total == total);
        if total > 1 && (1..=total).contains(&index) && total_fits {
            return Ok((Some(Shard { index, total }), Some(names)));
        }
    }
    let Some(ShardArg { total, .. }) = asked else { return Ok((None, None)) };
    match number(POD_INDEX).map(|index| index.saturating_add(1)) {
        Some(index) if index <= total => Ok((Some(Shard { index, total }), Some(POD_INDEX))),
        Some(index) => Err(Refusal::usage(format!(
            "--shard /{total}: {POD_INDEX} says that this is part {index} of {total}"
        ))
        .hint("there are as many parts as the job has pods (`completions`)")),
        None => Err(Refusal::usage(format!("--shard /{total}: nothing says which part this is")).hint(
            format!("name it, as in `--shard 1/{total}`; in CI it is taken from {POD_INDEX} or its like"),
        )),
    }
}

/// Ids of what did not pass in the newest run, without numbers of repetitions.
fn failed_last_time(artifacts: &Path) -> Result<BTreeSet<String>, Refusal> {
    let Some(run) = runner::newest_run(artifacts) else {
        return Err(Refusal::usage(format!("--failed: there is no earlier run in {}", artifacts.display()))
            .hint("`--artifacts DIR` names the folder that an earlier run used"));
    };
    let record = load(&run).map_err(|error| {
        Refusal::usage(format!("--failed: {}", chain(&error)))
            .hint("without `--failed` everything runs, and the next time this will know more")
    })?;
    let ids = failed_ids(&record);
    if ids.is_empty() {
        return Err(Refusal::nothing(format!("--failed: everything passed in {}", run.display())));
    }
    Ok(ids)
}

fn failed_ids(record: &RunRecord) -> BTreeSet<String> {
    let is_bad = |verdict: Option<runner::Verdict>| verdict.is_none_or(|verdict| !verdict.is_fine());
    let bad = record.tests.iter().filter(|test| is_bad(test.verdict));
    let plain = bad.map(|test| match test.test.repetition {
        Some(_) => test.test.id.rsplit_once('#').map_or(&*test.test.id, |(plain, _)| plain),
        None => &test.test.id,
    });
    plain.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(asked: &str, variables: &[(&str, &str)]) -> Option<(u32, u32)> {
        let asked = (!asked.is_empty()).then(|| parse_shard(asked).unwrap());
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let found = resolve_shard(asked, variable).unwrap_or_else(|_| panic!("{variables:?}"));
        found.0.map(|shard| (shard.index, shard.total))
    }

    #[test]
    fn the_part_is_what_was_asked_for_or_what_ci_says() {
        let gitlab = [("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "5")];
        assert_eq!(shard("", &[]), None);
        assert_eq!(shard("", &gitlab), Some((2, 5)));
        assert_eq!(shard("3/4", &gitlab), Some((3, 4)));
        assert_eq!(shard("1/1", &gitlab), None);
        assert_eq!(shard("", &[("CI_NODE_TOTAL", "1"), ("CI_NODE_INDEX", "1")]), None);
        let circle = [("CIRCLE_NODE_INDEX", "0"), ("CIRCLE_NODE_TOTAL", "3")];
        assert_eq!(shard("", &circle), Some((1, 3)));
        let buildkite = [("BUILDKITE_PARALLEL_JOB", "2"), ("BUILDKITE_PARALLEL_JOB_COUNT", "3")];
        assert_eq!(shard("", &buildkite), Some((3, 3)));
        let azure = [("SYSTEM_JOBPOSITIONINPHASE", "3"), ("SYSTEM_TOTALJOBSINPHASE", "3")];
        assert_eq!(shard("", &azure), Some((3, 3)));
        assert_eq!(shard("/4", &[(POD_INDEX, "3")]), Some((4, 4)));
        assert_eq!(shard("", &[(POD_INDEX, "3")]), None);
        assert!(resolve_shard(Some(ShardArg { index: None, total: 4 }), |_| None).is_err());
        assert!(resolve_shard(Some(ShardArg { index: None, total: 2 }), |_| Some("7".to_owned())).is_err());
        for wrong in ["", "3", "0/4", "5/4", "a/b", "1/0", "-1/3"] {
            assert!(parse_shard(wrong).is_err(), "{wrong}");
        }
    }
}
