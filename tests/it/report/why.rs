//! `backstaff trace FILE why`: fifteen lines that name the cause.

use backstaff::journal::run::{FailureNote, RunBody, RunLog, TestNote, Verdict};
use backstaff::report::style::Look;
use backstaff::report::{source, why};

use super::sample::{Journal, LOGIN, Sample, failed_login, test};
use crate::cli::lab::Lab;

const PLAIN: Look = Look { color: false, live: false, width: 80 };

fn said(sample: &Sample, look: Look) -> String {
    let text = why::text(&source::load(sample.path()).unwrap(), look);
    assert!(text.lines().count() <= 15, "{text}");
    text.replace(&sample.path().display().to_string(), "[run]")
}

#[test]
fn the_first_failure_is_told_in_full_and_the_others_named() {
    let sample = Sample::new();
    sample.script("login.lua", LOGIN);
    let (journal, failure) = failed_login();
    sample.test(test("is fine"), Verdict::Passed, None, &Journal::default());
    sample.began(test("was cut off"), &journal);
    sample.test(
        TestNote { case: Some("slow".to_owned()), ..test("logs in") },
        Verdict::TimedOut,
        Some(failure),
        &journal,
    );
    let other = FailureNote { message: "lane gone".to_owned(), ..FailureNote::default() };
    sample.test(test("parks"), Verdict::LaneFailed, Some(other), &Journal::default());
    let text = said(&sample, PLAIN);
    let page = include_str!("../../../docs/trace.md");
    let in_page = text.replace("[run]/", "logs/20260101-120000/01-");
    assert!(page.contains(&in_page), "docs/trace.md shows something else than:\n{in_page}");
    insta::assert_snapshot!(text, @r#"
    TIMED OUT logs in [slow] on lane sim
    login.lua:8: digest:wait_for: no match for { paste_received = { correct = true, len = 23 } } within 3.0 s
      seen since the last match: 1 keypress
      nearest miss: { paste_received = { correct = false, len = 23 } }
                    (correct: wanted true, got false)
      > 8 |     t.digest:wait_for({ paste_received = { len = 23, correct = true } }, { timeout = 3 })
    in step "answer"
          1.30 s  digest   keypress { scancode = 28, unicode = "\r" }
          1.50 s  digest   paste_received { correct = false, len = 23 }
          2.50 s  digest   line_rendered { row = 25 }
          2.60 s  serial   wrong answer
    host: 4.2 processes for each processor during the wait; the machine got 31 % of the processor time it wanted
    screen: [run]/logs-in/attempt-1/screenshots/02-timeout.png
    hint: look at the cable
    and 2 further: parks (lane failed), was cut off (unfinished)
    "#);
}

#[test]
fn a_message_of_many_lines_leaves_room_for_the_rest() {
    let sample = Sample::new();
    sample.script("login.lua", LOGIN);
    let (journal, mut failure) = failed_login();
    failure.message = (0..40).map(|line| format!("line {line}\u{1b}[2J\n")).collect();
    sample.test(test("logs in"), Verdict::Failed, Some(failure), &journal);
    insta::assert_snapshot!(said(&sample, PLAIN), @r#"
    FAILED logs in on lane sim
    login.lua:8: line 0�[2J
      line 1�[2J
      … 35 lines left out
      line 37�[2J
      line 38�[2J
      line 39�[2J
      > 8 |     t.digest:wait_for({ paste_received = { len = 23, correct = true } }, { timeout = 3 })
    in step "answer"
          2.50 s  digest   line_rendered { row = 25 }
          2.60 s  serial   wrong answer
    host: 4.2 processes for each processor during the wait; the machine got 31 % of the processor time it wanted
    screen: [run]/logs-in/attempt-1/screenshots/02-timeout.png
    hint: look at the cable
    "#);
}

#[test]
fn a_line_is_cut_on_a_terminal_only() {
    let sample = Sample::new();
    let (journal, mut failure) = failed_login();
    failure.message = "long ".repeat(100);
    sample.test(test(&"name ".repeat(40)), Verdict::Failed, Some(failure), &journal);
    let narrow = said(&sample, Look { live: true, width: 60, ..PLAIN });
    let longest = |text: &str| {
        text.lines().filter(|it| !it.starts_with("screen:")).map(|it| it.chars().count()).max().unwrap()
    };
    assert!(longest(&narrow) < 60, "{narrow}");
    assert!(longest(&said(&sample, PLAIN)) > 400);
}

#[test]
fn what_was_killed_says_how_far_it_came_and_scripts_that_do_not_load_come_first() {
    let sample = Sample::new();
    let (journal, _) = failed_login();
    sample.began(test("was cut off"), &journal);
    insta::assert_snapshot!(said(&sample, PLAIN), @r#"
    UNFINISHED was cut off on lane sim
    the program ended 4.4 s into it, before it had a verdict
          1.21 s  script   held: equals 1
          1.30 s  digest   keypress { scancode = 28, unicode = "\r" }
          1.50 s  digest   paste_received { correct = false, len = 23 }
          2.50 s  digest   line_rendered { row = 25 }
          2.60 s  serial   wrong answer
    host: 4.2 processes for each processor during the wait; the machine got 31 % of the processor time it wanted
    "#);
    sample.append(RunBody::ScriptNotLoaded {
        file: "broken.lua".to_owned(),
        text: Some("scenario(\n".to_owned()),
        failure: FailureNote {
            message: "unexpected end".to_owned(),
            file: Some("broken.lua".to_owned()),
            line: Some(1),
            ..FailureNote::default()
        },
    });
    insta::assert_snapshot!(said(&sample, PLAIN), @r#"
    NOT LOADED broken.lua
    broken.lua:1: unexpected end
      > 1 | scenario(
    and 1 further: was cut off (unfinished)
    "#);
}

#[test]
fn a_run_in_which_nothing_failed_says_so() {
    let sample = Sample::new();
    sample.test(test("is fine"), Verdict::Passed, None, &Journal::default());
    sample.test(test("wavers"), Verdict::Flaky, None, &Journal::default());
    sample.test(test("is elsewhere"), Verdict::Skipped, None, &Journal::default());
    let so_far = said(&sample, PLAIN);
    assert!(so_far.starts_with("nothing failed: 1 passed, 1 flaky, 1 skipped; the run did not"), "{so_far}");
    sample.run_ended();
    assert_eq!(said(&sample, PLAIN), "nothing failed: 1 passed, 1 flaky, 1 skipped\n");
    let run = source::load(sample.path()).unwrap();
    assert!(!why::has_failed(&run));
    let strict = backstaff::journal::run::RunRecord {
        began: backstaff::journal::run::RunBegan { fail_on_flaky: true, ..run.began.clone() },
        ..run
    };
    assert!(why::has_failed(&strict), "where flaky fails, it is a failure");
}

#[test]
fn the_command_finds_the_newest_run_and_refuses_what_is_none() {
    let lab = Lab::bare().file("notes.txt", "hello\n").file("empty/notes.txt", "");
    insta::assert_snapshot!(lab.run(&["trace", "why"]).exits_with(2).text(), @r#"
    [stderr]
    error: there is no run in `logs`
    hint: `backstaff run` makes one; of another folder say which: `backstaff trace FILE why`
    "#);
    for run in ["20260101-000000", "20260102-000000"] {
        let folder = lab.path("logs").join(run);
        std::fs::create_dir_all(&folder).unwrap();
        let log = RunLog::create(&folder).unwrap();
        let failure = FailureNote { message: format!("of {run}"), ..FailureNote::default() };
        log.append([RunBody::TestSelected(test("it"))]);
        log.append([RunBody::ScriptNotLoaded { file: "a.lua".to_owned(), text: None, failure }]);
    }
    let _ = lab.run(&["trace", "why"]).exits_with(1).says(&["NOT LOADED a.lua", "of 20260102-000000"]);
    let older = ["trace", "logs/20260101-000000/run.ndjson", "why"];
    let _ = lab.run(&older).exits_with(1).says(&["of 20260101-000000"]);
    insta::assert_snapshot!(lab.run(&["trace", "notes.txt", "why"]).exits_with(3).text(), @r#"
    [stderr]
    error: notes.txt is neither a run nor an attempt
    hint: name a run's folder (`logs/DATE-TIME`), its `run.ndjson`, or an attempt's folder or `journal.ndjson`
    "#);
    insta::assert_snapshot!(lab.run(&["trace", "empty", "html"]).exits_with(3).text(), @r#"
    [stderr]
    error: empty is neither a run nor an attempt
    hint: name a run's folder (`logs/DATE-TIME`), its `run.ndjson`, or an attempt's folder or `journal.ndjson`
    "#);
    insta::assert_snapshot!(lab.run(&["trace", "gone", "why"]).exits_with(2).text(), @r#"
    [stderr]
    error: read gone: No such file or directory (os error 2)
    hint: name a run's folder (`logs/DATE-TIME`), its `run.ndjson`, or an attempt's folder or `journal.ndjson`
    "#);
    let nowhere = ["trace", "html", "-o", "notes.txt/page.html"];
    let _ = lab.run(&nowhere).exits_with(2).says(&[
        "error: write the html report notes.txt/page.html: ",
        "hint: `--output FILE` names a file that may be written to",
    ]);
    let _ =
        lab.run(&["trace", "html", "-o", "logs/page.html"]).exits_with(0).says(&["logs/page.html (0.1 MB)"]);
    let page = std::fs::read_to_string(lab.path("logs/page.html")).unwrap();
    assert!(page.contains("<title>✗"));
    assert_eq!(lab.run(&["trace", "html", "-o", "-"]).exits_with(0).stdout, page);
    let broken = lab.path("logs/20260103-000000");
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("run.ndjson"), "{\"format\":\"backstaff-run\",\"version\":1}\n{\n{\n")
        .unwrap();
    let text = lab.run(&["trace", "why"]).exits_with(3).text();
    assert!(text.contains("run.ndjson: line 2"), "{text}");
}
