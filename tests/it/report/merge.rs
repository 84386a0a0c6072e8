//! `backstaff report`: several runs become one, and what is missing or doubled is said.

use std::path::Path;

use backstaff::journal::run::{self, Shard, Timings, Verdict};
use backstaff::runner::shard::list_digest;

use super::made::{Sample, every_kind, not_passed, passed};
use crate::cli::lab::Lab;

/// Tests 0, 1, … of a list of `total * 2` tests, in as many shards, each a folder `shard-N`.
fn shards(lab: &Lab, total: u32) {
    let ids: Vec<String> = (0..total * 2).map(|number| format!("a.lua::test {number}@sim")).collect();
    for index in 1..=total {
        let mut sample = Sample::new(&lab.path(&format!("logs/shard-{index}")));
        sample.run.began.shard = Some(Shard { index, total });
        sample.run.began.list_tests = total * 2;
        sample.run.began.list_digest = list_digest(ids.iter().map(String::as_str));
        for number in [index * 2 - 2, index * 2 - 1] {
            sample.passing(&format!("test {number}"));
        }
        sample.store();
    }
}

fn report(lab: &Lab, arguments: &[&str], code: i32) -> String {
    let all: Vec<&str> = std::iter::once("report").chain(arguments.iter().copied()).collect();
    lab.command(&all).may_make("out").run().exits_with(code).within(60).text()
}

#[test]
fn shards_that_are_all_of_a_list_are_proven_to_be() {
    let lab = Lab::bare();
    shards(&lab, 3);
    let folders = ["logs/shard-3", "logs/shard-1", "logs/shard-2/run.ndjson"];
    insta::assert_snapshot!(report(&lab, &folders, 0), @r###"
    [took]
    6 passed, 0 failed, 0 skipped
    [stderr]
    3 of 3 shards, 6 tests of 6: nothing is missing, nothing ran twice
    "###);
    let merge = ["merge", folders[0], folders[1], folders[2], "--output", "out/merged"];
    insta::assert_snapshot!(report(&lab, &merge, 0), @r###"
    out/merged/run.ndjson
    6 passed, 0 failed, 0 skipped
    [stderr]
    3 of 3 shards, 6 tests of 6: nothing is missing, nothing ran twice
    "###);
    let merged = run::load(&lab.path("out/merged")).unwrap();
    assert_eq!((merged.tests.len(), merged.began.list_tests, merged.began.shard), (6, 6, None));
    let ids = merged.tests.iter().map(|test| test.test.id.as_str());
    assert_eq!(list_digest(ids), merged.began.list_digest);
    for test in &merged.tests {
        assert!(test.attempts[0].folder.join("journal.ndjson").is_file(), "{test:?}");
    }
    let one = run::load(&lab.path("logs/shard-1")).unwrap();
    assert_eq!(merged.tests[0].attempts[0].ended, one.tests[0].attempts[0].ended);
    assert_eq!(merged.tests[0].attempts[0].began_at, one.tests[0].attempts[0].began_at);
    assert_eq!(merged.tests[0].verdict, Some(Verdict::Passed));
    let alone = report(&lab, &["logs/shard-2"], 0);
    assert!(alone.contains("shard 2 of 3 alone: whether the others are whole is not known"), "{alone}");
}

#[test]
fn what_is_missing_or_doubled_is_listed_and_fails() {
    let lab = Lab::bare();
    shards(&lab, 3);
    let text = report(&lab, &["logs/shard-1", "logs/shard-3"], 1);
    assert!(text.contains("error: shard 2 of 3 is missing\nhint: name the run of every shard"), "{text}");
    assert!(text.contains("4 passed, 0 failed, 0 skipped\n"), "{text}");
    let twice = ["logs/shard-1", "logs/shard-2", "logs/shard-3", "logs/shard-2"];
    let text = report(&lab, &twice, 1);
    assert!(text.contains("error: shard 2 of 3 is there 2 times: logs/shard-2, logs/shard-2\n"), "{text}");
    assert!(
        text.contains("error: a.lua::test 2@sim was run 2 times: logs/shard-2, logs/shard-2\n"),
        "{text}"
    );
    assert_eq!(text.matches("hint: name each run once").count(), 1, "{text}");

    let change = |shard: &str, from: &str, to: &str| {
        let path = lab.path(shard).join("run.ndjson");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        std::fs::write(&path, text.replace(from, to)).unwrap();
    };
    // A test that was renamed in a shard only: same number, other list.
    change("logs/shard-2", "test 3@sim", "test 33@sim");
    let all = ["logs/shard-1", "logs/shard-2", "logs/shard-3"];
    let text = report(&lab, &all, 1);
    assert!(text.contains("error: the digest over all tests is sha256:"), "{text}");
    change("logs/shard-2", "\"total\":3", "\"total\":4");
    let text = report(&lab, &all, 1);
    assert!(
        text.contains("logs/shard-2 is one of 4 shards, while the first run is one of 3 shards"),
        "{text}"
    );
    change("logs/shard-2", "\"total\":4", "\"total\":3");
    change("logs/shard-3", "sha256:", "sha256:00");
    let text = report(&lab, &all, 1);
    assert!(text.contains("error: logs/shard-3 is of another list: its digest is sha256:00"), "{text}");
}

#[test]
fn a_shard_that_was_killed_is_no_success() {
    let lab = Lab::bare();
    shards(&lab, 2);
    let path = lab.path("logs/shard-2/run.ndjson");
    let text = std::fs::read_to_string(&path).unwrap();
    let cut = text.find("\"event\":\"attempt_ended\"").unwrap();
    std::fs::write(&path, &text[..cut]).unwrap();
    let text = report(&lab, &["logs/shard-1", "logs/shard-2", "--tap", "out/tap"], 1);
    assert!(text.contains("2 passed, 1 failed, 1 skipped\n"), "{text}");
    assert!(text.contains("2 shards, 4 tests of 4: nothing is missing"), "{text}");
    assert!(text.contains("but 2 did not run to their end"), "{text}");
    let tap = std::fs::read_to_string(lab.path("out/tap")).unwrap();
    assert!(tap.contains("not ok 3 - a.lua::test 2@sim\n") && tap.contains("# SKIP not run: "), "{tap}");
}

#[test]
fn every_kind_of_verdict_is_shown_to_people() {
    let lab = Lab::bare();
    every_kind(&lab.path("logs/night"));
    insta::assert_snapshot!(report(&lab, &["logs/night"], 70), @r###"
    ERROR broken.lua::the script loads [took]
          broken.lua:3: unexpected symbol near `)`
    FLAKY a.lua::is flaky@sim [took]
          a.lua:13: expected 7, got 8
          in step "boot"
          hint: look at the cable
    FAIL  a.lua::fails@sim [took]
          a.lua:23: expected "up"
              got "down"
          in step "boot"
          hint: look at the cable
          logs: logs/night/21-test/attempt-2
    ERROR a.lua::is wrong@sim [took]
          a.lua:33: attempt to index a nil value
          in step "boot"
          hint: look at the cable
          logs: logs/night/31-test/attempt-1
    LANE  a.lua::loses its lane@sim [took]
          a.lua:43: QEMU exited with status 1
          in step "boot"
          hint: look at the cable
          logs: logs/night/41-test/attempt-2
    FAIL  a.lua::takes too long@sim [took]
          a.lua:53: no match for "login:" within 30 s
          in step "boot"
          hint: look at the cable
          logs: logs/night/51-test/attempt-1
    SKIP  a.lua::is skipped@sim [took]
          the lane has no mouse
    STOP  a.lua::is cancelled@sim [took]
          the run was interrupted
    BUG   a.lua::meets a bug@sim [took]
          a.lua:83: the attempt panicked
          in step "boot"
          hint: look at the cable
          logs: logs/night/81-test/attempt-1
    STOP  a.lua::does not end@sim [took]
          not finished: attempt 1 began and did not end
          logs: logs/night/91-test/attempt-1
    1 of the failures is the machine's or the host's, not the scenario's
    1 flaky: passed, but not at the first attempt
    3 not finished: the run did not come to its end: it was killed, or goes on
    3 passed, 7 failed, 3 skipped
    "###);
}

#[test]
fn formats_go_to_files_or_one_of_them_to_standard_output() {
    let lab = Lab::bare();
    every_kind(&lab.path("logs/night"));
    let text = report(
        &lab,
        &["logs/night", "--junit", "out/deep/j.xml", "--ndjson", "out/n", "--subunit", "out/s", "--tap", "-"],
        70,
    );
    assert!(text.starts_with("TAP version 14\n1..13\n") && !text.contains("everything is in"), "{text}");
    for file in ["deep/j.xml", "n", "s"] {
        assert!(std::fs::metadata(lab.path("out").join(file)).unwrap().len() > 1_000, "{file}");
    }
    let text = report(&lab, &["logs/night", "--junit", "-", "--tap", "-"], 2);
    assert!(text.contains("error: junit and tap both go to standard output"), "{text}");
    let text = report(&lab, &["logs/nihgt"], 2);
    assert!(text.contains("error: read logs/nihgt") && text.contains("hint: name a run's folder"), "{text}");
    let text = report(&lab, &["logs/night", "--junit", "/proc/no/report.xml"], 2);
    assert!(text.contains("error: write the junit report /proc/no/report.xml: "), "{text}");
    assert!(text.contains("hint: name a file that may be written to"), "{text}");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let full = lab.command(&["report", "logs/night"]).stdout(full).run().exits_with(16);
    let _ = full.says(&["error: write standard output: No space left on device"]);
}

#[test]
fn an_attempts_journal_alone_is_a_run_of_one_test() {
    use backstaff::journal::{Body, Journal, Source};
    let lab = Lab::bare();
    std::fs::create_dir_all(lab.path("logs/x")).unwrap();
    let journal = Journal::create(&lab.path("logs/x/journal.ndjson")).unwrap();
    let (scenario, file, lane) = ("logs in".to_owned(), "login.lua".to_owned(), "sim".to_owned());
    journal.append(Source::Runner, Body::AttemptBegan { scenario, file, line: 3, lane, attempt: 1 });
    let reason = Some("no match".to_owned());
    let ended = Body::AttemptEnded { verdict: "timed_out".to_owned(), reason, failure: None };
    journal.append(Source::Runner, ended);
    journal.close();
    let text = report(&lab, &["logs/x/journal.ndjson"], 1);
    assert!(text.contains("FAIL  login.lua::logs in@sim") && text.contains("no match"), "{text}");
    assert!(text.contains("0 passed, 1 failed, 0 skipped\n"), "{text}");
}

#[test]
fn an_attempt_of_a_run_is_told_with_what_the_run_knows_but_alone() {
    let lab = Lab::bare();
    shards(&lab, 2);
    let log = lab.path("logs/shard-2/run.ndjson");
    let folder = run::load(&log).unwrap().tests[1].attempts[0].folder.clone();
    let folder = folder.strip_prefix(lab.path("")).unwrap().to_str().unwrap();
    for path in [folder.to_owned(), format!("{folder}/journal.ndjson")] {
        let text = report(&lab, &[&path, "--ndjson", "out/report"], 0);
        assert!(text.contains("1 passed, 0 failed, 0 skipped\n") && !text.contains("shard 2 of 2"), "{text}");
        let lines = std::fs::read_to_string(lab.path("out/report")).unwrap();
        assert!(lines.contains(&format!("\"folder\":\"{folder}\"")), "{lines}");
        assert!(
            lines.contains("\"id\":\"a.lua::test 3@sim\"") && lines.contains("\"list_tests\":1"),
            "{lines}"
        );
    }
}

#[test]
fn on_github_the_summary_grows_and_annotations_are_printed() {
    let lab = Lab::bare().file("logs/summary.md", "what another step said\n");
    every_kind(&lab.path("logs/night"));
    let summary = lab.path("logs/summary.md");
    let done = lab
        .command(&["report", "logs/night", "--github"])
        .env("GITHUB_STEP_SUMMARY", summary.to_str().unwrap())
        .env("GITHUB_WORKSPACE", "/srv")
        .run()
        .exits_with(70)
        .text();
    assert!(
        done.contains("::error file=project/a.lua,line=23,title=failed a.lua%3A%3Afails@sim::"),
        "{done}"
    );
    let page = std::fs::read_to_string(summary).unwrap();
    assert!(page.starts_with("what another step said\n\n### backstaff: 3 passed, "), "{page}");
}

#[test]
fn timings_are_gathered_over_runs_and_updated() {
    let lab = Lab::bare();
    let night = |name: &str, took_ms: u64| {
        let mut sample = Sample::new(&lab.path(name));
        let test = sample.passing("grows");
        test.attempts[0].ended.as_mut().unwrap().took_ms = took_ms;
        let failed = not_passed(Verdict::Failed, "expectation", "no");
        sample.test("fails first", Some(Verdict::Flaky), vec![failed, passed()]);
        let failed = not_passed(Verdict::Failed, "expectation", "no");
        sample.test("fails", Some(Verdict::Failed), vec![failed]);
        sample.store();
    };
    night("logs/1", 1_000);
    night("logs/2", 2_000);
    night("logs/3", 9_000);
    let timings = |files: &[&str]| {
        let arguments: Vec<&str> = files.iter().copied().chain(["--timings", "out/timings.json"]).collect();
        report(&lab, &arguments, 0);
        let timings = Timings::load(&lab.path("out/timings.json")).unwrap();
        let grows = timings.of("a.lua::grows@sim#4").unwrap().as_millis();
        assert_eq!(timings.of("a.lua::fails@sim"), None);
        assert_eq!(timings.of("a.lua::fails first@sim").unwrap().as_millis(), 2_000);
        grows
    };
    assert_eq!(timings(&["logs/1", "logs/2", "logs/3"]), 2_000);
    assert_eq!(timings(&["logs/3"]), (2_000 * 3 + 9_000) / 4);
    std::fs::write(lab.path("out/timings.json"), "{}").unwrap();
    let text = report(&lab, &["logs/1", "--timings", "out/timings.json"], 3);
    assert!(text.contains("hint: name another file, or remove this one"), "{text}");
    assert_eq!(std::fs::read(lab.path("out/timings.json")).unwrap(), b"{}");
    assert!(Path::new(&lab.path("out")).read_dir().unwrap().count() == 1);
}
