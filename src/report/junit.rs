//! JUnit XML in the dialect of Jenkins, as test runners for Rust emit it: `testsuites` > `testsuite` (a script) >
//! `testcase` (a test). `fixtures/schemas/jenkins-junit.xsd` describes it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use jiff::Timestamp;
use quick_junit::{
    FlakyOrRerun, NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestRerun, TestSuite,
};

use super::evidence::Evidence;
use super::story::{Class, Entry, Outcome, Story, details};
use super::text::{clean, cut, first_line, shorten};
use crate::journal::run::{AttemptNote, AttemptRecord, Verdict};

/// GitLab reads no larger file.
pub const MAX_BYTES: usize = 30_000_000;

/// Writes the story as JUnit XML, of at most [`MAX_BYTES`] where names alone do not need more: the longer a file would
/// be, the less of messages and of what scripts said is in it.
///
/// # Errors
/// The writer fails.
pub fn render(story: &Story<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    out.write_all(&render_within(story, MAX_BYTES)?)
}

fn render_within(story: &Story<'_>, max_bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut xml = Vec::new();
    for budget in BUDGETS {
        xml.clear();
        report(story, budget).serialize(&mut xml).map_err(std::io::Error::other)?;
        if xml.len() <= max_bytes {
            break;
        }
    }
    Ok(xml)
}

/// How many bytes texts of one test may have.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// A failure's details, of each attempt.
    details: usize,
    /// What a script said, of each test.
    output: usize,
    /// Files named, of each test.
    files: usize,
}

/// From all that anybody reads to hardly more than names.
const BUDGETS: [Budget; 4] = [
    Budget { details: 65_536, output: 65_536, files: 1_000 },
    Budget { details: 8_192, output: 2_048, files: 50 },
    Budget { details: 1_024, output: 0, files: 4 },
    Budget { details: 120, output: 0, files: 0 },
];

fn report(story: &Story<'_>, budget: Budget) -> Report {
    let run = story.run;
    let mut report = Report::new(NAME);
    report.set_timestamp(date(run.began_at));
    report.set_time(Duration::from_millis(run.took_ms.unwrap_or_default()));
    let mut suites: Vec<(&str, TestSuite)> = Vec::new();
    for entry in &story.entries {
        let index = suites.iter().rposition(|(file, _)| *file == entry.file).unwrap_or_else(|| {
            suites.push((entry.file, suite(entry, story)));
            suites.len() - 1
        });
        let suite = &mut suites[index].1;
        suite.time = Some(suite.time.unwrap_or_default() + entry.took());
        suite.add_test_case(case(entry, story, budget));
    }
    report.add_test_suites(suites.into_iter().map(|(_, suite)| suite));
    if run.took_ms.is_none() {
        report.set_time(report.test_suites.iter().filter_map(|suite| suite.time).sum());
    }
    report
}

fn suite(first: &Entry<'_>, story: &Story<'_>) -> TestSuite {
    let mut suite = TestSuite::new(text(first.file));
    suite.set_timestamp(date(first.began_at().unwrap_or(story.run.began_at)));
    suite.set_time(Duration::ZERO);
    suite.add_property(property("backstaff.version", &story.run.began.version));
    if let Some(shard) = story.run.began.shard {
        suite.add_property(property("shard", &format!("{}/{}", shard.index, shard.total)));
    }
    if let Some(why) = story.early_end() {
        suite.add_property(property("ended_early", &why));
    }
    suite
}

fn case(entry: &Entry<'_>, story: &Story<'_>, budget: Budget) -> TestCase {
    let mut case = TestCase::new(text(&entry.name), status(entry, budget));
    case.set_classname(text(&classname(entry.file)));
    case.set_timestamp(date(entry.began_at().unwrap_or(story.run.began_at)));
    case.set_time(entry.took());
    let (file, line) = entry.place();
    case.extra.insert("file".into(), text(file).into());
    if let Some(line) = line {
        case.extra.insert("line".into(), line.to_string().into());
    }
    add_properties(&mut case, entry);
    add_output(&mut case, entry, story, budget);
    case
}

fn status(entry: &Entry<'_>, budget: Budget) -> TestCaseStatus {
    let kind = match entry.outcome.class() {
        Class::Passed => {
            let mut status = TestCaseStatus::success();
            let earlier = entry.attempts().iter().filter_map(|attempt| rerun(attempt, budget));
            status.add_reruns(earlier);
            return status;
        }
        Class::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(text(&shorten(&first_line(entry.message()), MESSAGE_BYTES)));
            status.set_type(kind_of(entry));
            return status;
        }
        Class::Failure => NonSuccessKind::Failure,
        Class::Error => NonSuccessKind::Error,
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(text(&shorten(&first_line(entry.message()), MESSAGE_BYTES)));
    status.set_type(kind_of(entry));
    if let Some(failure) = &entry.failure {
        status.set_description(text(&cut(&details(failure), budget.details)));
    }
    // The last attempt is the failure itself, unless nobody knows how it ended.
    let attempts = entry.attempts();
    let last = if entry.outcome == Outcome::NotFinished { attempts.len() } else { attempts.len().max(1) - 1 };
    let earlier: Vec<TestRerun> = attempts[..last].iter().filter_map(|it| rerun(it, budget)).collect();
    if !earlier.is_empty() {
        status.set_rerun_kind(FlakyOrRerun::Rerun);
        status.add_reruns(earlier);
    }
    status
}

/// An attempt that did not pass and was followed by another.
fn rerun(attempt: &AttemptRecord, budget: Budget) -> Option<TestRerun> {
    let ended = attempt.ended.as_ref()?;
    let kind = match Outcome::Verdict(ended.verdict).class() {
        Class::Failure => NonSuccessKind::Failure,
        Class::Error => NonSuccessKind::Error,
        Class::Passed | Class::Skipped => return None,
    };
    let mut rerun = TestRerun::new(kind);
    rerun.set_timestamp(date(attempt.began_at));
    rerun.set_time(Duration::from_millis(ended.took_ms));
    let AttemptNote { failure, verdict, .. } = ended;
    let failure = failure.clone().unwrap_or_default();
    rerun.set_message(text(&shorten(&first_line(&failure.message), MESSAGE_BYTES)));
    rerun.set_type(type_of(*verdict, &failure.kind));
    rerun.set_description(text(&cut(&details(&failure), budget.details)));
    Some(rerun)
}

fn kind_of(entry: &Entry<'_>) -> String {
    let kind = entry.failure.as_ref().map_or("", |failure| failure.kind.as_str());
    match entry.outcome {
        Outcome::Verdict(verdict) => type_of(verdict, kind),
        outcome => outcome.name().to_owned(),
    }
}

/// Tells a lane that failed from a script that is wrong, and an expectation from a wait.
fn type_of(verdict: Verdict, kind: &str) -> String {
    let name = verdict.name();
    if kind.is_empty() || kind == name {
        name.to_owned()
    } else {
        format!("{name}.{}", text(&shorten(kind, MESSAGE_BYTES)))
    }
}

fn add_properties(case: &mut TestCase, entry: &Entry<'_>) {
    case.add_property(property("id", &entry.id));
    case.add_property(property("verdict", entry.outcome.name()));
    let Some(test) = entry.test else { return };
    let note = &test.test;
    case.add_property(property("lane", &note.lane));
    for (name, lane) in &note.lanes {
        case.add_property(property(&format!("lane.{name}"), lane));
    }
    if let Some(of_case) = &note.case {
        case.add_property(property("case", of_case));
    }
    if let Some(repetition) = note.repetition {
        case.add_property(property("repetition", &repetition.to_string()));
    }
    for tag in &note.tags {
        case.add_property(property("tag", tag));
    }
    case.add_property(property("attempts", &test.attempts.len().to_string()));
    if test.is_slow {
        case.add_property(property("slow", "true"));
    }
    for ended in test.attempts.iter().filter_map(|attempt| attempt.ended.as_ref()) {
        for note in &ended.host_notes {
            case.add_property(property("host", note));
        }
    }
}

/// What scripts said and attached. Of tests that passed only the files are named.
fn add_output(case: &mut TestCase, entry: &Entry<'_>, story: &Story<'_>, budget: Budget) {
    let mut said = String::new();
    let mut files = Vec::new();
    for attempt in entry.attempts() {
        let evidence = Evidence::load_or_say(&attempt.folder);
        if entry.attempts().len() > 1 && !evidence.log.is_empty() {
            said.push_str(&format!("attempt {}:\n", attempt.number));
        }
        for line in &evidence.log {
            said.push_str(line);
            said.push('\n');
        }
        if evidence.left_out > 0 {
            said.push_str(&format!("and {} lines more\n", evidence.left_out));
        }
        files.extend(evidence.files.into_iter().map(|file| file.path));
    }
    let mut output = String::new();
    if budget.output > 0 && !said.is_empty() {
        output = text(&cut(&said, budget.output));
    }
    for path in files.iter().take(budget.files) {
        let path = from_project(path, &story.run.began.working_dir);
        let shown = text(&path.display().to_string());
        case.add_property(Property::new("attachment", shown.as_str()));
        // The line cannot say where such a path ends.
        if !shown.contains("]]") && !shown.contains('\n') {
            if !output.is_empty() && !output.ends_with('\n') {
                output.push('\n');
            }
            output.push_str(&format!("[[ATTACHMENT|{shown}]]\n"));
        }
    }
    if !output.is_empty() {
        case.set_system_out(output);
    }
}

/// Relative to the project's directory, where the file is below it; a relative path is already.
fn from_project(path: &Path, working_dir: &str) -> PathBuf {
    let below = Some(working_dir).filter(|dir| !dir.is_empty()).and_then(|dir| path.strip_prefix(dir).ok());
    let path = below.unwrap_or(path);
    path.strip_prefix(".").unwrap_or(path).to_owned()
}

/// Jenkins makes packages of what is before the last dot.
fn classname(file: &str) -> String {
    let path = file.strip_suffix(".lua").unwrap_or(file);
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    if parts.is_empty() { file.to_owned() } else { parts.join(".") }
}

fn property(name: &str, value: &str) -> Property {
    Property::new(text(&shorten(name, MESSAGE_BYTES)), text(&shorten(value, MESSAGE_BYTES)))
}

/// The serializer leaves out tabs.
fn text(text: &str) -> String {
    clean(text).replace('\t', "    ")
}

fn date(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.as_millisecond()).unwrap_or_default()
}

const NAME: &str = "backstaff";
/// Of a message or another text in an attribute.
const MESSAGE_BYTES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::run::{RunRecord, TestNote, TestRecord};

    #[test]
    fn paths_become_packages_and_stay_below_the_project() {
        assert_eq!(classname("./scenarios/deep/login.lua"), "scenarios.deep.login");
        assert_eq!(classname("../a.lua"), "a");
        assert_eq!(classname("/"), "/");
        let relative = |path: &str| from_project(Path::new(path), "/srv/project").display().to_string();
        assert_eq!(relative("/srv/project/logs/x.png"), "logs/x.png");
        assert_eq!(relative("/elsewhere/x.png"), "/elsewhere/x.png");
        assert_eq!(relative("./logs/x.png"), "logs/x.png");
    }

    #[test]
    fn a_file_that_would_be_too_large_loses_words_and_no_test() {
        let attempt = |number| AttemptRecord {
            number,
            folder: "no/such/folder".into(),
            began_at: Timestamp::UNIX_EPOCH,
            ended: Some(AttemptNote {
                id: String::new(),
                attempt: number,
                verdict: Verdict::Failed,
                failure: Some(crate::journal::run::FailureNote {
                    message: "wanted this\n".repeat(10_000),
                    ..Default::default()
                }),
                further_misses: 0,
                warnings: Vec::new(),
                host_notes: Vec::new(),
                took_ms: 1,
            }),
        };
        let test = |index: u32| TestRecord {
            test: TestNote {
                id: format!("a.lua::{index}@sim"),
                file: "a.lua".to_owned(),
                ..TestNote::default()
            },
            attempts: vec![attempt(1), attempt(2)],
            verdict: Some(Verdict::Failed),
            took_ms: 2,
            is_slow: false,
        };
        let run = RunRecord { tests: (0..20).map(test).collect(), ..RunRecord::default() };
        let story = Story::of(&run);
        let whole = render_within(&story, MAX_BYTES).unwrap();
        assert!(whole.len() > 20 * 2 * 60_000, "{}", whole.len());
        for max_bytes in [1_000_000, 400_000, 60_000, 30_000] {
            let xml = String::from_utf8(render_within(&story, max_bytes).unwrap()).unwrap();
            assert!(xml.len() <= max_bytes, "{} of {max_bytes}", xml.len());
            assert_eq!(xml.matches("<testcase ").count(), 20);
            assert_eq!(xml.matches("<rerunFailure ").count(), 20);
            assert!(xml.contains("bytes are left out here"));
        }
    }
}
