//! A suite with every kind of verdict in it: all reports tell the same story, while it runs and again later.

use std::collections::BTreeMap;

use backstaff::journal::run::load;
use backstaff::runner::Verdict;
use serde_json::Value;

use crate::cli::lab::Lab;

const SUITE: &str = "
scenario('passes', { lane = 'none' }, function(t) end)
scenario('is flaky', { lane = 'none' }, function(t) expect(t.attempt):equals(2) end)
scenario('fails', { lane = 'none' }, function(t) t:step('judging', function() expect(1):equals(2) end) end)
scenario('is wrong', { lane = 'none' }, function(t) t:sleeep(1) end)
scenario('runs out of time', { lane = 'none', timeout = 0.5 }, function(t) t:eventually(function() end) end)
scenario('skips', { lane = 'none' }, function(t) t:skip('no network here') end)
scenario('needs more', { lane = 'none', needs = { 'keyboard' } }, function(t) end)
scenario('has no machine', { lane = 'broken' }, function(t) end)
scenario('has cases', { lane = 'none' }, function(t) expect(t.params.x):equals(1) end).cases { { x = 1 }, { x = 2 } }
";
/// One that never becomes ready.
const BROKEN: &str = "kind = \"sim\"\n\n[[gate]]\nkind = \"serial-line\"\npattern = \"never\"\ntimeout = 1\n";

fn verdicts() -> BTreeMap<String, Verdict> {
    [
        ("a.lua::passes@none", Verdict::Passed),
        ("a.lua::is flaky@none", Verdict::Flaky),
        ("a.lua::fails@none", Verdict::Failed),
        ("a.lua::is wrong@none", Verdict::Error),
        ("a.lua::runs out of time@none", Verdict::TimedOut),
        ("a.lua::skips@none", Verdict::Skipped),
        ("a.lua::needs more@none", Verdict::Skipped),
        ("a.lua::has no machine@broken", Verdict::LaneFailed),
        ("a.lua::has cases[x=1]@none", Verdict::Passed),
        ("a.lua::has cases[x=2]@none", Verdict::Failed),
    ]
    .into_iter()
    .map(|(id, verdict)| (id.to_owned(), verdict))
    .collect()
}

#[test]
fn every_report_tells_the_same_story() {
    let lab =
        Lab::bare().file("a.lua", SUITE).file("lanes/broken.toml", BROKEN).file("b.lua", "scenario('x',");
    let reports =
        ["junit=out/junit.xml", "tap=out/all.tap", "ndjson=out/all.ndjson", "subunit=out/all.subunit"];
    let arguments = ["run", "a.lua", "--retries", "1", "--jobs", "3", "--artifacts", "out/logs"];
    let arguments: Vec<&str> =
        arguments.into_iter().chain(reports.iter().flat_map(|report| ["--report", report])).collect();
    let finished = lab.command(&arguments).may_make("out").run().exits_with(1);
    let finished =
        finished.says(&["1 flaky: passed, but not at the first attempt", "3 passed, 5 failed, 2 skipped"]);
    assert!(finished.stdout.contains("FLAKY is flaky") && finished.stdout.contains("LANE  has no machine"));

    let runs = crate::cli::lab::run_folders(&lab.path("out/logs"));
    let [folder] = &runs[..] else { panic!("one run: {runs:?}") };
    let run = load(folder).unwrap();
    let told: BTreeMap<String, Verdict> =
        run.tests.iter().map(|test| (test.test.id.clone(), test.verdict.unwrap())).collect();
    assert_eq!(told, verdicts());

    let read = |name: &str| std::fs::read_to_string(lab.path("out").join(name)).unwrap();
    let junit = read("junit.xml");
    let count = |what: &str| junit.matches(what).count();
    assert_eq!(
        (count("<testcase "), count("<failure"), count("<error"), count("<skipped")),
        (10, 3, 2, 2),
        "{junit}"
    );
    assert_eq!(count("<flakyFailure"), 1);
    assert_eq!(count("<rerunFailure") + count("<rerunError"), 5);
    assert!(junit.contains("tests=\"10\" skipped=\"2\" failures=\"3\" errors=\"2\""), "{junit}");
    for id in verdicts().keys() {
        let id = id.replace('&', "&amp;");
        assert!(
            junit.contains(&format!("<property name=\"id\" value=\"{id}\"/>")),
            "{id} is missing in {junit}"
        );
    }

    let tap = read("all.tap");
    let points = |start: &str| tap.lines().filter(|line| line.starts_with(start)).count();
    assert!(tap.starts_with("TAP version 14\n1..10\n"), "{tap}");
    assert_eq!((points("ok "), points("not ok ")), (5, 5));
    assert_eq!(tap.lines().filter(|line| line.starts_with("ok ") && line.contains("# SKIP")).count(), 2);

    let ndjson: Vec<Value> =
        read("all.ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: BTreeMap<String, String> = ndjson
        .iter()
        .filter_map(|line| Some((line["id"].as_str()?.to_owned(), line["verdict"].as_str()?.to_owned())))
        .collect();
    assert_eq!(told, verdicts().into_iter().map(|(id, verdict)| (id, verdict.name().to_owned())).collect());

    // Rendered again later, from the journal alone, it is the same to the byte.
    let folder = folder.to_str().unwrap();
    let again = ["report", folder, "--junit", "out/again.xml", "--tap", "out/again.tap"];
    let again = lab.command(&again).may_make("out").run().exits_with(1);
    let _ = again.says(&["3 passed, 5 failed, 2 skipped"]);
    assert_eq!((read("again.xml"), read("again.tap")), (junit, tap));
}
