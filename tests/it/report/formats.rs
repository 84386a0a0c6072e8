//! Every format tells the same story, in a form that foreign readers accept.

use std::collections::BTreeMap;

use backstaff::journal::run::{self, RunRecord, Verdict};
use backstaff::report::story::{Class, Story};
use backstaff::report::style::Look;
use backstaff::report::{github, junit, ndjson, subunit, summary, tap};
use serde_json::Value;
use tap_parser::{DirectiveKind, TapParser, TapStatement, TapTest};
use uppsala::XsdValidator;

use super::made::{Sample, every_kind, not_passed, passed};

/// What a format says of each test: its name and class.
type Told = BTreeMap<String, Class>;

pub(crate) fn rendered(
    run: &RunRecord,
    render: impl Fn(&Story<'_>, &mut dyn std::io::Write) -> std::io::Result<()>,
) -> Vec<u8> {
    let mut out = Vec::new();
    render(&Story::of(run), &mut out).unwrap();
    out
}

pub(crate) fn junit_xml(run: &RunRecord) -> String {
    String::from_utf8(rendered(run, junit::render)).unwrap()
}

pub(crate) fn tap_text(run: &RunRecord) -> String {
    String::from_utf8(rendered(run, tap::render)).unwrap()
}

/// What is wrong with a document, by the committed schema.
pub(crate) fn schema_errors(xml: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/schemas/jenkins-junit.xsd");
    let schema = std::fs::read_to_string(path).unwrap();
    let validator = XsdValidator::from_schema(&uppsala::parse(&schema).unwrap()).unwrap();
    let document = match uppsala::parse(xml) {
        Ok(document) => document,
        Err(error) => return vec![error.to_string()],
    };
    validator.validate(&document).iter().map(ToString::to_string).collect()
}

/// Names and classes of the test cases, and the counts of the suites agree with them.
pub(crate) fn junit_told(xml: &str) -> Told {
    assert_eq!(schema_errors(xml), Vec::<String>::new(), "{xml}");
    let document = uppsala::parse(xml).unwrap();
    let mut told = Told::new();
    let mut sums = BTreeMap::<&str, usize>::new();
    for suite in document.get_elements_by_tag_name("testsuite") {
        let mut counts = BTreeMap::from([("tests", 0), ("failures", 0), ("errors", 0), ("skipped", 0)]);
        for case in document.children(suite) {
            let Some(name) =
                document.get_attribute(case, "name").filter(|_| has_name(&document, case, "testcase"))
            else {
                continue;
            };
            let has =
                |tag: &str| document.children(case).iter().any(|child| has_name(&document, *child, tag));
            let class = match (has("failure"), has("error"), has("skipped")) {
                (true, false, false) => Class::Failure,
                (false, true, false) => Class::Error,
                (false, false, true) => Class::Skipped,
                (false, false, false) => Class::Passed,
                several => panic!("{name}: {several:?}"),
            };
            *counts.get_mut("tests").unwrap() += 1;
            let counter = match class {
                Class::Failure => "failures",
                Class::Error => "errors",
                Class::Skipped => "skipped",
                Class::Passed => "tests",
            };
            *counts.get_mut(counter).unwrap() += usize::from(class != Class::Passed);
            let suite = document.get_attribute(suite, "name").unwrap();
            assert_eq!(told.insert(format!("{suite}::{name}"), class), None, "{name} is there twice");
        }
        for (name, count) in counts {
            assert_eq!(document.get_attribute(suite, name), Some(count.to_string().as_str()), "{name}");
            *sums.entry(name).or_default() += count;
        }
    }
    let all = document.get_elements_by_tag_name("testsuites")[0];
    for (name, count) in sums {
        assert_eq!(document.get_attribute(all, name), Some(count.to_string().as_str()), "{name}");
    }
    told
}

fn has_name(document: &uppsala::Document<'_>, node: uppsala::NodeId, name: &str) -> bool {
    document.element(node).is_some_and(|element| element.name.local_name == name)
}

pub(crate) fn tap_told(text: &str) -> Told {
    let statements = TapParser::new().parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut told = Told::new();
    let mut plan = None;
    let mut count = 0;
    for statement in &statements {
        let point = match statement {
            TapStatement::Plan(found) => {
                plan = Some(found.count);
                continue;
            }
            TapStatement::TestPoint(point) => point,
            TapStatement::Subtest(subtest) => {
                assert!(!subtest.statements.is_empty());
                &subtest.ending
            }
            TapStatement::Comment(_) => continue,
        };
        count += 1;
        assert_eq!(point.number, Some(count));
        let name = point.desc.unwrap().replace("\\#", "#").replace("\\\\", "\\");
        assert_eq!(told.insert(name, class_of(point)), None);
    }
    assert_eq!(plan, Some(count));
    told
}

fn class_of(point: &TapTest<'_>) -> Class {
    let is_skipped = point.directive.as_ref().is_some_and(|it| it.kind == DirectiveKind::Skip);
    let is_error = |line: &&str| {
        ["error", "lane_failed", "bug", "not_finished", "not_loaded"]
            .iter()
            .any(|verdict| line.trim() == format!("verdict: \"{verdict}\""))
    };
    match (point.result, is_skipped) {
        (true, true) => Class::Skipped,
        (true, false) => Class::Passed,
        (false, false) if point.yaml.iter().any(is_error) => Class::Error,
        (false, false) => Class::Failure,
        (false, true) => panic!("not ok, and skipped: {point:?}"),
    }
}

pub(crate) fn ndjson_told(text: &str) -> Told {
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], serde_json::json!({"format": "backstaff-report", "version": 1}));
    assert_eq!(lines[1]["event"], "run");
    let summary = lines.last().unwrap();
    let tests = &lines[2..lines.len() - 1];
    let class = |test: &Value| match test["class"].as_str().unwrap() {
        "passed" => Class::Passed,
        "failure" => Class::Failure,
        "error" => Class::Error,
        "skipped" => Class::Skipped,
        other => panic!("{other}"),
    };
    let told: Told = tests.iter().map(|it| (it["id"].as_str().unwrap().to_owned(), class(it))).collect();
    assert_eq!(told.len(), tests.len());
    let count = |wanted: Class| told.values().filter(|class| **class == wanted).count();
    assert_eq!(summary["tests"], tests.len());
    assert_eq!(summary["passed"], count(Class::Passed));
    assert_eq!(summary["failures"], count(Class::Failure));
    assert_eq!(summary["errors"], count(Class::Error));
    assert_eq!(summary["skipped"], count(Class::Skipped));
    told
}

/// Without errors: subunit knows failures only.
pub(crate) fn subunit_told(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    for event in subunit_rust::parse_subunit(bytes).unwrap() {
        let status = event.status.unwrap();
        if !["", "inprogress"].contains(&status.as_str()) {
            assert_eq!(told.insert(event.test_id.unwrap(), status), None);
        }
    }
    told
}

#[test]
fn every_format_tells_the_same_story_of_every_kind_of_verdict() {
    let folder = tempfile::tempdir().unwrap();
    every_kind(folder.path());
    let run = run::load(folder.path()).unwrap();
    let story = Story::of(&run);
    let wanted: Told = story.entries.iter().map(|entry| (entry.id.clone(), entry.outcome.class())).collect();
    let names: Vec<(&str, &str)> =
        story.entries.iter().map(|entry| (entry.id.as_str(), entry.outcome.name())).collect();
    assert_eq!(
        names,
        [
            ("broken.lua::the script loads", "not_loaded"),
            ("a.lua::passes@sim", "passed"),
            ("a.lua::is flaky@sim", "flaky"),
            ("a.lua::fails@sim", "failed"),
            ("a.lua::is wrong@sim", "error"),
            ("a.lua::loses its lane@sim", "lane_failed"),
            ("a.lua::takes too long@sim", "timed_out"),
            ("a.lua::is skipped@sim", "skipped"),
            ("a.lua::is cancelled@sim", "cancelled"),
            ("a.lua::meets a bug@sim", "bug"),
            ("a.lua::does not end@sim", "not_finished"),
            ("a.lua::never begins@sim", "not_run"),
            ("a.lua::has [a case] # 2 \\ <&\"> ]]>@sim#2", "passed"),
        ]
    );

    assert_eq!(junit_told(&junit_xml(&run)), wanted);
    assert_eq!(tap_told(&tap_text(&run)), wanted);
    assert_eq!(ndjson_told(&String::from_utf8(rendered(&run, ndjson::render)).unwrap()), wanted);
    let status = |class: &Class| match class {
        Class::Passed => "success",
        Class::Failure | Class::Error => "fail",
        Class::Skipped => "skip",
    };
    let statuses = wanted.iter().map(|(id, class)| (id.clone(), status(class).to_owned()));
    assert_eq!(subunit_told(&rendered(&run, subunit::render)), statuses.collect());

    let line = "3 passed, 7 failed, 3 skipped";
    let look = Look { color: false, live: false, width: 80 };
    let text = summary::text(&story, look);
    assert_eq!(text.lines().last(), Some(line));
    assert!(tap_text(&run).contains(&format!("\n# {line}\nBail out! the run did not come to its end")));
    let page = github::summary(&story, github::SUMMARY_BYTES);
    assert!(page.starts_with(&format!("\n### backstaff: {line}\n")), "{page}");
    let annotations = github::annotations(&story, None);
    assert_eq!(annotations.lines().count(), 7);
    for entry in story.entries.iter().filter(|entry| entry.outcome.is_bad()) {
        let name = entry.name.replace('_', "&#95;").replace('@', "&#64;");
        assert!(page.contains(&name), "{name}: {page}");
        let title =
            format!("title={} {}", entry.outcome.name().replace('_', " "), entry.id.replace("::", "%3A%3A"));
        assert!(annotations.contains(&title), "{title}: {annotations}");
        assert!(text.contains(&entry.id), "{text}");
    }
}

#[test]
fn junit_tells_attempts_places_properties_and_attachments() {
    let folder = tempfile::tempdir().unwrap();
    let sample = every_kind(folder.path());
    let mut run = sample.run;
    // As if the project were there.
    run.began.working_dir = folder.path().display().to_string();
    let xml = junit_xml(&run);
    for wanted in [
        r#"<testcase name="fails@sim" classname="a" timestamp="2026-05-28T20:27:02.000+00:00" time="4.000" file="a.lua" line="23">"#,
        r#"<failure message="expected &quot;up&quot;" type="failed.expectation">a.lua:23: expected &quot;up&quot;"#,
        r#"<rerunFailure timestamp="2026-05-28T20:27:02.000+00:00" time="2.000" message="expected &quot;up&quot;""#,
        r#"<flakyFailure timestamp="#,
        r#"<rerunError timestamp="#,
        r#"<error message="QEMU exited with status 1" type="lane_failed.lane_lost">"#,
        r#"<error message="attempt to index a nil value" type="error.script">"#,
        r#"type="timed_out.timeout">"#,
        r#"<error message="not finished: attempt 1 began and did not end" type="not_finished">"#,
        r#"<error message="unexpected symbol near `)`" type="not_loaded">"#,
        r#"<skipped message="the lane has no mouse" type="skipped.skip"/>"#,
        r#"<skipped message="the run was interrupted" type="cancelled"/>"#,
        r#"<skipped message="not run: the run did not come to its end: it was killed, or goes on" type="not_run"/>"#,
        r#"<property name="lane" value="sim"/>"#,
        r#"<property name="tag" value="smoke"/>"#,
        r#"<property name="repetition" value="2"/>"#,
        r#"<property name="attachment" value="01-test/attempt-1/notes.txt"/>"#,
        "<system-out>a word    of the script\n[[ATTACHMENT|01-test/attempt-1/screenshots/01.png]]\n\
         [[ATTACHMENT|01-test/attempt-1/notes.txt]]\n</system-out>",
    ] {
        assert!(xml.contains(wanted), "{wanted}\n{xml}");
    }
}

#[test]
fn the_schema_turns_down_what_readers_would() {
    let folder = tempfile::tempdir().unwrap();
    let xml = junit_xml(&every_kind(folder.path()).run);
    let breaks = [
        (" time=\"4.000\"", ""),
        (" time=\"4.000\"", " time=\"-4\""),
        (" classname=\"a\"", ""),
        (" line=\"23\"", " line=\"0\""),
        ("<flakyFailure", "<flaky"),
        ("tests=\"13\"", "tests=\"many\""),
        ("name=\"is wrong@sim\"", "name=\"fails@sim\""),
        ("<testsuite ", "<suite "),
    ];
    for (from, to) in breaks {
        assert!(xml.contains(from), "{from}");
        assert_ne!(schema_errors(&xml.replacen(from, to, 1)), Vec::<String>::new(), "{from} -> {to}");
    }
}

#[test]
fn tap_shows_steps_of_one_attempt_and_attempts_of_several() {
    let folder = tempfile::tempdir().unwrap();
    let mut sample = every_kind(folder.path());
    sample.run.not_loaded.clear();
    sample.run.tests.truncate(3);
    sample.run.took_ms = Some(1);
    insta::assert_snapshot!(tap_text(&sample.run), @r###"
    TAP version 14
    1..3
    # Subtest: a.lua::passes@sim
        1..1
        ok 1 - boot
          ---
          duration_ms: 3400
          ...
    ok 1 - a.lua::passes@sim
      ---
      verdict: "passed"
      duration_ms: 2000
      ...
    # Subtest: a.lua::is flaky@sim
        1..2
        not ok 1 - attempt 1 # TODO flaky
          ---
          verdict: "failed"
          duration_ms: 2000
          kind: "expectation"
          message: "expected 7, got 8"
          step: "boot"
          hint: "look at the cable"
          at:
            file: "a.lua"
            line: 13
          ...
        ok 2 - attempt 2
          ---
          verdict: "passed"
          duration_ms: 2000
          ...
    ok 2 - a.lua::is flaky@sim
      ---
      verdict: "flaky"
      duration_ms: 4000
      ...
    # Subtest: a.lua::fails@sim
        1..2
        not ok 1 - attempt 1
          ---
          verdict: "failed"
          duration_ms: 2000
          kind: "expectation"
          message: |
            expected "up"
              got "down"
          step: "boot"
          hint: "look at the cable"
          at:
            file: "a.lua"
            line: 23
          ...
        not ok 2 - attempt 2
          ---
          verdict: "failed"
          duration_ms: 2000
          kind: "expectation"
          message: |
            expected "up"
              got "down"
          step: "boot"
          hint: "look at the cable"
          at:
            file: "a.lua"
            line: 23
          ...
    not ok 3 - a.lua::fails@sim
      ---
      verdict: "failed"
      duration_ms: 4000
      kind: "expectation"
      message: |
        expected "up"
          got "down"
      step: "boot"
      hint: "look at the cable"
      at:
        file: "a.lua"
        line: 23
      ...
    # 2 passed, 1 failed, 0 skipped
    "###);
}

#[test]
fn a_run_whose_lanes_all_failed_bails_out_and_one_that_stopped_at_a_failure_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut sample = Sample::new(folder.path());
    let lost = not_passed(Verdict::LaneFailed, "lane_lost", "no \\ room # left");
    sample.test("a", Some(Verdict::LaneFailed), vec![lost]);
    let text = tap_text(&sample.run);
    assert_eq!(text.lines().last(), Some("Bail out! every lane failed: no \\\\ room \\# left"));
    sample.test("b", Some(Verdict::Passed), vec![passed()]);
    sample.run.ended_by = Some("fail_fast".to_owned());
    assert!(!tap_text(&sample.run).contains("Bail out!"));
    sample.run.ended_by = Some("signal 2".to_owned());
    assert!(tap_text(&sample.run).ends_with("\nBail out! the run was interrupted (signal 2)\n"));
}

#[test]
fn ndjson_tells_how_near_waits_came_to_their_deadlines() {
    let folder = tempfile::tempdir().unwrap();
    let sample = every_kind(folder.path());
    let text = String::from_utf8(rendered(&sample.run, ndjson::render)).unwrap();
    let test: Value = serde_json::from_str(text.lines().nth(3).unwrap()).unwrap();
    let waits = &test["attempts"][0]["waits"];
    assert_eq!((&waits["count"], &waits["timeouts"]), (&Value::from(2), &Value::from(0)));
    let tightest = &waits["tightest"];
    assert_eq!(tightest["slack"], 0.1);
    assert_eq!(tightest["took_ms"], 900);
    assert_eq!(tightest["host_load"], 3.5);
    assert_eq!(tightest["step"][0], "boot");
}

#[test]
fn subunit_has_times_tags_the_lane_as_route_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let sample = every_kind(folder.path());
    let events = subunit_rust::parse_subunit(&rendered(&sample.run, subunit::render)[..]).unwrap();
    let of =
        |id: &str| events.iter().filter(|event| event.test_id.as_deref() == Some(id)).collect::<Vec<_>>();
    let passes = of("a.lua::passes@sim");
    let statuses: Vec<_> = passes.iter().map(|event| event.status.as_deref().unwrap()).collect();
    assert_eq!(statuses, ["inprogress", "", "success"]);
    assert_eq!(passes[1].file_name.as_deref(), Some("attempt-1/notes"));
    assert_eq!(passes[1].file_content.as_deref(), Some(b"what the script attached".as_slice()));
    assert_eq!(passes[1].mime_type.as_deref(), Some("text/plain;charset=utf8"));
    assert!(events.iter().filter(|event| event.file_name.is_some()).all(|event| event.mime_type.is_some()));
    let tags = passes[0].tags.clone().unwrap();
    assert_eq!(tags, ["smoke", "verdict:passed"]);
    assert!(passes.iter().all(|event| event.route_code.as_deref() == Some("sim")));
    let took = passes[2].timestamp.unwrap() - passes[0].timestamp.unwrap();
    assert_eq!(took.num_milliseconds(), 2_000);
    let reason = of("a.lua::never begins@sim");
    assert_eq!(reason[0].file_name.as_deref(), Some("reason"));
    assert_eq!(reason[1].status.as_deref(), Some("skip"));
}
