//! What a person sees on a terminal, and what programs get through a pipe.

use super::lab::{Finished, Lab};

/// Long enough for the live line to be drawn.
const BODY: &str = "t:step('a step', function() t:sleep(0.5) end)";

fn has_escapes(text: &str) -> bool {
    text.contains('\u{1b}')
}

/// Whether a line was drawn over and over.
fn is_live(text: &str) -> bool {
    text.contains("\r\u{1b}[2K")
}

#[test]
fn a_pipe_gets_plain_lines() {
    let Some(lab) = Lab::with_rom("plain lines") else { return };
    let finished = lab.scenario("", BODY).run(&["run", "a.lua"]).exits_with(0);
    assert!(!has_escapes(&finished.stdout) && !finished.stdout.contains('\r'), "{:?}", finished.stdout);
    insta::assert_snapshot!(finished.text(), @r"
    1 scenario on lane rom (logs/[run])
    RUN   it (a.lua:1)
          [at]  lane is ready
          [at]  a step [took]
    PASS  it [took]
    [took], everything is in logs/[run]
    1 passed, 0 failed, 0 skipped
    ");
}

#[test]
fn colours_can_be_forced_into_a_pipe_but_no_live_line() {
    let Some(lab) = Lab::with_rom("forced colours") else { return };
    let lab = lab.scenario("", BODY);
    let forced = [
        lab.run(&["run", "a.lua", "--color", "always"]),
        lab.command(&["run", "a.lua"]).env("CLICOLOR_FORCE", "1").run(),
    ];
    for Finished { stdout, .. } in forced {
        assert!(has_escapes(&stdout) && !is_live(&stdout), "{stdout:?}");
    }
}

#[test]
fn a_terminal_gets_colours_and_a_live_line_unless_told_otherwise() {
    let Some(lab) = Lab::with_rom("a terminal") else { return };
    let lab = lab.scenario("", BODY);
    let run = |name: &str, value: &str| {
        let invocation = lab.command_on_terminal("a terminal", &["run", "a.lua"])?;
        Some(invocation.env(name, value).run().exits_with(0).stdout)
    };
    let Some(text) = run("NOTHING", "") else { return };
    assert!(has_escapes(&text) && is_live(&text), "{text:?}");
    assert!(text.contains("it › a step › "), "{text:?}");
    // The last line is for programs: no colour, and nothing of the live line before it.
    assert_eq!(text.lines().last(), Some("1 passed, 0 failed, 0 skipped"));
    let text = run("NO_COLOR", "1").unwrap();
    assert!(!has_escapes(&text), "{text:?}");
    let text = run("CI", "true").unwrap();
    assert!(!is_live(&text), "{text:?}");
    let text = run("TERM", "dumb").unwrap();
    assert!(!has_escapes(&text), "{text:?}");
}

#[test]
fn a_reader_that_goes_away_changes_no_verdict() {
    let Some(lab) = Lab::with_rom("a reader that goes away") else { return };
    let lab = lab.file("fails.lua", "scenario('it', function() expect(1):equals(2) end)").scenario("", BODY);
    for (script, code) in [("a.lua", 0), ("fails.lua", 1)] {
        let finished = lab.command(&["run", script]).read_lines(1).run().exits_with(code);
        assert_eq!((finished.stdout.lines().count(), &*finished.stderr), (1, ""));
    }
}

#[test]
fn a_report_that_cannot_be_written_is_said_on_stderr() {
    let Some(lab) = Lab::with_rom("a full disk") else { return };
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        return eprintln!("SKIPPED a full disk: no /dev/full");
    };
    let finished = lab.scenario("", "").command(&["run", "a.lua"]).stdout(full).run().exits_with(0);
    assert!(
        finished.stderr.starts_with("error: the report cannot be written: No space left"),
        "{}",
        finished.stderr
    );
}

#[test]
fn quiet_leaves_failures_and_the_summary() {
    let Some(lab) = Lab::with_rom("quiet") else { return };
    let lab = lab.scenario("", BODY).file("b.lua", "scenario('b', function() expect(1):equals(2) end)");
    insta::assert_snapshot!(lab.run(&["run", "-q", "."]).exits_with(1).text(), @r"
    FAIL  b [took]
          ./b.lua:1: expected that it equals 2
            wanted 2, got 1
            >    1 | scenario('b', function() expect(1):equals(2) end)
          screen: logs/[run]/02-b/attempt-1/screenshots/01-failure.png
          logs: logs/[run]/02-b/attempt-1
    [took], everything is in logs/[run]
    1 passed, 1 failed, 0 skipped
    ");
}

#[test]
fn names_and_texts_of_a_script_cannot_move_the_cursor() {
    let Some(lab) = Lab::with_rom("control characters") else { return };
    let script = "scenario('new\\nline \\27[2J', function(t) t:log('\\27]0;title\\7') \
                  t:step('s\\ntep', function() error('bad\\27[31m\\nworse') end) end)";
    let finished = lab.file("a.lua", script).run(&["run", "a.lua"]).exits_with(1);
    let strange: Vec<char> =
        finished.stdout.chars().filter(|char| char.is_control() && *char != '\n').collect();
    assert!(strange.is_empty(), "{strange:?} in {:?}", finished.stdout);
    let _ = finished.says(&["RUN   new\u{FFFD}line \u{FFFD}[2J", "in step \"s\u{FFFD}tep\""]);
}
