//! What is wrong with scripts, without a lane: each on its own, and in its project.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::select::load_all;
use super::{Project, ProjectError};
use crate::lane::handle::Capability;
use crate::lane::offers;
use crate::script::lint::{Finding, Lines, Rule, Severity, lint, of_failure};
use crate::script::{LoadError, Scenario, Script};

/// A script that was looked through.
#[derive(Debug)]
pub struct Checked {
    /// Its path as it was given.
    pub path: PathBuf,
    /// Its text, when it could be read.
    pub script: Option<Script>,
    /// What there is to say, in the order of the script.
    pub findings: Vec<Finding>,
}

/// Looks through scripts. Their top levels run, as for a list; their scenarios do not.
///
/// # Errors
/// A project file is wrong.
pub fn check(scripts: &[PathBuf], lane_dirs: &[PathBuf], cwd: &Path) -> Result<Vec<Checked>, ProjectError> {
    let mut projects: HashMap<PathBuf, Lanes> = HashMap::new();
    let mut all = Vec::with_capacity(scripts.len());
    for (path, result) in scripts.iter().zip(load_all(scripts)) {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        if !projects.contains_key(&folder) {
            projects.insert(folder.clone(), Lanes::of(Project::find(path, lane_dirs, cwd)?));
        }
        let (script, mut findings) = match result {
            Ok((script, scenarios)) => {
                let mut findings = lint(&script);
                if let Some(lanes) = projects.get_mut(&folder) {
                    findings.extend(lanes.check(&script, &scenarios));
                }
                (Some(script), findings)
            }
            Err((Some(script), LoadError::Script(failure))) => {
                let mut findings = lint(&script);
                let failed = of_failure(&script, &failure);
                if !findings.iter().any(|finding| says_the_same(finding, &failed)) {
                    findings.push(failed);
                }
                (Some(script), findings)
            }
            Err((script, error)) => (script, vec![unreadable(path, &error)]),
        };
        findings.sort_by_key(|finding| finding.spot.map(|spot| (spot.line, spot.column)));
        all.push(Checked { path: path.clone(), script, findings });
    }
    Ok(all)
}

/// Whether a finding explains why the script does not load.
fn says_the_same(finding: &Finding, failed: &Finding) -> bool {
    let line = |finding: &Finding| finding.spot.map(|spot| spot.line);
    // Loading says the line of the call; its options may stand in others.
    let is_of_options = |finding: &Finding| finding.message.starts_with("scenario: ");
    finding.rule.severity() == Severity::Error
        && (finding.rule == failed.rule
            || line(finding).is_some() && line(finding) == line(failed)
            || is_of_options(finding) && is_of_options(failed))
}

fn unreadable(path: &Path, error: &LoadError) -> Finding {
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    let message = format!("cannot be read: {cause}");
    Finding { rule: Rule::Unreadable, file: path.display().to_string(), spot: None, message, hint: None }
}

/// The lanes of a project, as far as they were asked for.
struct Lanes {
    project: Project,
    /// What each offers at best; nothing is known of one that does not load.
    offers: HashMap<String, Offers>,
}

/// What a lane offers at best; or why it does not load, and what to do about that.
type Offers = Result<BTreeSet<Capability>, (String, Option<String>)>;

impl Lanes {
    fn of(project: Project) -> Self {
        Self { project, offers: HashMap::new() }
    }

    fn offers(&mut self, name: &str) -> &Offers {
        let project = &self.project;
        self.offers.entry(name.to_owned()).or_insert_with(|| match project.profile(name) {
            Ok(profile) => Ok(offers::at_best(&profile)),
            Err(ProjectError::UnknownLane { .. }) if name == super::NO_LANE => Ok(BTreeSet::new()),
            Err(error) => Err((chain(&error), error.hint())),
        })
    }

    /// What is wrong with what the scenarios say of lanes.
    fn check(&mut self, script: &Script, scenarios: &[Scenario]) -> Vec<Finding> {
        let lines = Lines::new(&script.source);
        let mut findings = Vec::new();
        let mut last = None;
        // Cases of one scenario say the same.
        for scenario in
            scenarios.iter().filter(|scenario| last.replace(scenario.index) != Some(scenario.index))
        {
            let file = script.path.display().to_string();
            let spot = Some(lines.line_spot(scenario.place.line));
            let found = match named(scenario) {
                names if names.is_empty() => self.check_any(scenario),
                names => self.check_named(scenario, &names),
            };
            findings.extend(found.into_iter().map(|(rule, message, hint)| Finding {
                rule,
                file: file.clone(),
                spot,
                message,
                hint,
            }));
        }
        findings
    }

    fn check_named(&mut self, scenario: &Scenario, names: &BTreeSet<String>) -> Vec<Said> {
        let mut found = Vec::new();
        for name in names {
            match self.offers(name) {
                Err((message, hint)) => found.push((Rule::UnknownLane, message.clone(), hint.clone())),
                Ok(offers) => {
                    let missing = missing(scenario, offers);
                    if !missing.is_empty() {
                        let message = format!(
                            "{:?} would always be skipped: lane \"{name}\" offers no {}",
                            scenario.name,
                            missing.join(", no ")
                        );
                        found.push((Rule::UnmetNeeds, message, Some(offered(name, offers))));
                    }
                }
            }
        }
        found
    }

    /// A scenario that runs on whichever lane the run names.
    fn check_any(&mut self, scenario: &Scenario) -> Vec<Said> {
        if scenario.needs.is_empty() {
            return Vec::new();
        }
        let mut names = self.project.lanes();
        names.push(super::project::BUILT_IN_LANE.to_owned());
        names.sort();
        names.dedup();
        let mut short = BTreeMap::new();
        for name in names {
            match self.offers(&name) {
                Ok(offers) => {
                    let missing = missing(scenario, offers);
                    if missing.is_empty() {
                        return Vec::new();
                    }
                    short.insert(name, missing);
                }
                // It may be the one that is meant.
                Err(_) => return Vec::new(),
            }
        }
        let message =
            format!("{:?} would always be skipped: no lane offers all that it needs", scenario.name);
        let lacks =
            short.iter().map(|(name, missing)| format!("\"{name}\" has no {}", missing.join(", no ")));
        vec![(Rule::UnmetNeeds, message, Some(lacks.collect::<Vec<_>>().join("; ")))]
    }
}

/// A rule, what is wrong, and what to do about it.
type Said = (Rule, String, Option<String>);

fn named(scenario: &Scenario) -> BTreeSet<String> {
    scenario.lanes.values().chain(&scenario.lane).cloned().collect()
}

fn missing(scenario: &Scenario, offers: &BTreeSet<Capability>) -> Vec<&'static str> {
    scenario.needs.iter().filter(|need| !offers.contains(need)).map(|need| need.name()).collect()
}

fn offered(name: &str, offers: &BTreeSet<Capability>) -> String {
    let names: Vec<&str> = offers.iter().map(|capability| capability.name()).collect();
    match names.is_empty() {
        true => format!("lane \"{name}\" is no machine"),
        false => format!("lane \"{name}\" offers {}", names.join(", ")),
    }
}

/// `outer: inner: cause`.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
