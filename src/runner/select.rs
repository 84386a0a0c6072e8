//! From scripts to the list of tests: loaded, filtered, repeated, sharded.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::filter::{Facts, Filter};
use crate::journal::run::TestNote;
use crate::script::{Failure, FailureKind, LoadError, Scenario, Script, load};

/// Which of the tests there are.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only tests that one of these means, if there are any.
    pub filters: Vec<Filter>,
    /// None of those that one of these means.
    pub excluded: Vec<Filter>,
    /// Only scenarios with one of these tags, if there are any.
    pub tags: Vec<String>,
    /// Only these ids, if any were asked for.
    pub only_ids: Option<BTreeSet<String>>,
    /// Whether a scenario that its author wanted to run alone for the moment is an error.
    pub refuses_only: bool,
}

/// A scenario, or a case of one, on its lanes.
#[derive(Debug, Clone)]
pub struct Test {
    /// Unique within the list: `FILE::NAME[CASE]@LANE`, with `#N` behind it for a repetition.
    pub id: String,
    /// Its script.
    pub script: Script,
    /// What it plays.
    pub scenario: Arc<Scenario>,
    /// Names of the lanes it runs on; what the scenario calls them, when it has several.
    pub lanes: Vec<(Option<String>, String)>,
    /// Which repetition, from 1.
    pub repetition: Option<u32>,
}

/// What the scripts hold.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Tests that were asked for, in the order of their scripts.
    pub tests: Vec<Test>,
    /// Tests there are, asked for or not.
    pub declared: usize,
    /// Whether only tests marked with `only` are in the list.
    pub is_narrowed: bool,
    /// Scripts that do not load.
    pub failed: Vec<FailedScript>,
}

/// A script that does not load.
#[derive(Debug)]
pub struct FailedScript {
    /// Its path as it was given.
    pub path: PathBuf,
    /// Its text, when it could be read.
    pub script: Option<Script>,
    /// Why.
    pub error: LoadError,
}

impl Loaded {
    /// What a script holds that is no file.
    pub(super) fn of_session(script: &Script, lane: &str, cwd: &Path) -> Self {
        match load(script) {
            Ok(scenarios) => {
                let tests = scenarios.into_iter().map(|scenario| Test::new(script, scenario, lane, cwd));
                let tests: Vec<Test> = tests.collect();
                Self { declared: tests.len(), tests, ..Self::default() }
            }
            Err(error) => {
                let (path, script) = (script.path.clone(), Some(script.clone()));
                Self { failed: vec![FailedScript { path, script, error }], ..Self::default() }
            }
        }
    }
}

impl Test {
    /// `of` scenarios that name no lane, `lane` is the run's. `cwd` is absolute.
    fn new(script: &Script, scenario: Scenario, lane: &str, cwd: &Path) -> Self {
        let lanes: Vec<(Option<String>, String)> = match &scenario.lane {
            _ if !scenario.lanes.is_empty() => {
                scenario.lanes.iter().map(|(role, name)| (Some(role.clone()), name.clone())).collect()
            }
            Some(own) => vec![(None, own.clone())],
            None => vec![(None, lane.to_owned())],
        };
        let case = scenario.case.as_ref().map(|case| format!("[{}]", case.name)).unwrap_or_default();
        // The same on every machine, however the script was named.
        let file = script.path.strip_prefix(cwd).unwrap_or(&script.path);
        let file = file.strip_prefix(".").unwrap_or(file).display();
        let id = format!("{file}::{}{case}@{}", scenario.name, lane_text(&lanes));
        Self { id, script: script.clone(), scenario: Arc::new(scenario), lanes, repetition: None }
    }

    /// The same once more, as repetition `number` from 1.
    #[must_use]
    pub fn repeated(&self, number: u32) -> Self {
        let id = format!("{}#{number}", self.plain_id());
        Self { id, repetition: Some(number), ..self.clone() }
    }

    /// The id without a repetition's number.
    pub fn plain_id(&self) -> &str {
        match self.repetition {
            Some(_) => self.id.rsplit_once('#').map_or(&*self.id, |(plain, _)| plain),
            None => &self.id,
        }
    }

    /// The lane's name; of several `a=NAME,b=NAME`.
    pub fn lane(&self) -> String {
        lane_text(&self.lanes)
    }

    /// The name with its case and repetition, for people.
    pub fn title(&self) -> String {
        let case = self.scenario.case.as_ref().map(|case| format!(" [{}]", case.name)).unwrap_or_default();
        let repetition = self.repetition.map(|number| format!(" #{number}")).unwrap_or_default();
        format!("{}{case}{repetition}", self.scenario.name)
    }

    /// As it is kept on disk.
    pub fn note(&self) -> TestNote {
        let Self { id, scenario, lanes, .. } = self;
        TestNote {
            id: id.clone(),
            name: scenario.name.clone(),
            case: scenario.case.as_ref().map(|case| case.name.clone()),
            file: scenario.place.file.clone(),
            line: scenario.place.line,
            tags: scenario.tags.clone(),
            lane: lane_text(lanes),
            lanes: scenario.lanes.clone(),
            needs: scenario.needs.iter().map(|need| need.name().to_owned()).collect(),
            repetition: self.repetition,
        }
    }
}

fn lane_text(lanes: &[(Option<String>, String)]) -> String {
    let texts: Vec<String> = lanes
        .iter()
        .map(|(role, name)| role.as_ref().map_or_else(|| name.clone(), |role| format!("{role}={name}")))
        .collect();
    texts.join(",")
}

impl Selection {
    /// Loads scripts, several at once, and keeps the tests that are asked for.
    pub fn load(&self, scripts: &[PathBuf], lane: &str, cwd: &Path) -> Loaded {
        let mut loaded = Loaded::default();
        for (path, result) in scripts.iter().zip(load_all(scripts)) {
            let (script, scenarios) = match result {
                Ok(found) => found,
                Err((script, error)) => {
                    loaded.failed.push(FailedScript { path: path.clone(), script, error });
                    continue;
                }
            };
            loaded.declared += scenarios.len();
            let left_over = scenarios.iter().find(|scenario| scenario.is_only && self.refuses_only);
            if let Some(scenario) = left_over {
                let message = format!("{:?} is marked to run alone, and CI runs everything", scenario.name);
                let failure =
                    Failure::new(FailureKind::Usage, message).at(Some(scenario.place.clone())).hint(
                        "take the `only` away; it is for the moment in which somebody works on that scenario",
                    );
                let error = LoadError::Script(Box::new(failure));
                loaded.failed.push(FailedScript { path: path.clone(), script: Some(script), error });
                continue;
            }
            let tests = scenarios.into_iter().map(|scenario| Test::new(&script, scenario, lane, cwd));
            loaded.tests.extend(tests);
        }
        if loaded.tests.iter().any(|test| test.scenario.is_only) {
            loaded.tests.retain(|test| test.scenario.is_only);
            loaded.is_narrowed = true;
        }
        loaded.tests.retain(|test| self.wants(test));
        loaded
    }

    fn wants(&self, test: &Test) -> bool {
        let Test { scenario, script, lanes, id, .. } = test;
        let file = script.path.to_string_lossy();
        let lanes: Vec<String> = lanes.iter().map(|(_, name)| name.clone()).collect();
        let capabilities: Vec<String> = scenario.needs.iter().map(|need| need.name().to_owned()).collect();
        let facts = Facts {
            name: &scenario.name,
            case: scenario.case.as_ref().map(|case| case.name.as_str()),
            file: &file,
            tags: &scenario.tags,
            lanes: &lanes,
            capabilities: &capabilities,
        };
        let is_meant = |filters: &[Filter]| filters.iter().any(|filter| filter.matches(&facts));
        (self.filters.is_empty() || is_meant(&self.filters))
            && !is_meant(&self.excluded)
            && (self.tags.is_empty() || self.tags.iter().any(|tag| scenario.tags.contains(tag)))
            && self.only_ids.as_ref().is_none_or(|ids| ids.contains(id))
    }
}

pub(super) type LoadResult = Result<(Script, Vec<Scenario>), (Option<Script>, LoadError)>;

pub(super) fn load_all(scripts: &[PathBuf]) -> Vec<LoadResult> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(scripts.len());
    if workers <= 1 {
        return scripts.iter().map(|path| load_one(path)).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((index, path)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            scripts.get(index).map(|path| (index, path))
        } {
            done.push((index, load_one(path)));
        }
        done
    };
    let mut results: Vec<(usize, LoadResult)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("loading does not panic")).collect()
    });
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn load_one(path: &Path) -> LoadResult {
    let script = Script::read(path).map_err(|error| (None, error))?;
    match load(&script) {
        Ok(scenarios) => Ok((script, scenarios)),
        Err(error) => Err((Some(script), error)),
    }
}
