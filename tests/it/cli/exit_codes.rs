//! Every exit code of the table in `docs/cli.md`, through the program; which one wins; and the table itself. That a bug
//! of ours is 70 is tested where it can be had: in `cli/exit.rs`.

use std::collections::BTreeMap;

use backstaff::cli::exit::ExitCode;
use rustix::process::Signal;

use super::lab::Lab;

/// Scripts without a machine, each of which ends in one way.
fn lab() -> Lab {
    [
        ("passes", "function(t) end"),
        ("fails", "function(t) expect(1):equals(2) end"),
        ("times_out", "{ timeout = 0.1 }, function(t) t:sleep(60) end"),
        ("errs", "function(t) error('boom') end"),
        ("skips", "function(t) t:skip('not here') end"),
        ("is_flaky", "function(t) expect(t.attempt):equals(2) end"),
        ("waits", "function(t) t:log('here') t:sleep(60) end"),
        ("loses_its_lane", "{ lane = 'attached' }, function(t) end"),
    ]
    .into_iter()
    .fold(Lab::bare().file("backstaff.toml", "lane = \"none\"\n"), |lab, (name, rest)| {
        lab.file(&format!("{name}.lua"), &format!("scenario('{name}', {rest})\n"))
    })
    .file("lanes/attached.toml", "kind = \"attach\"\n")
    .file("does_not_load.lua", "scenario(")
    .file("declares_nothing.lua", "local nothing = 1\n")
}

/// Runs these scripts (`name` stands for `name.lua`) and options, and looks at the exit code.
#[track_caller]
fn ends(lab: &Lab, arguments: &str, code: ExitCode) {
    let words = arguments.split(' ').map(|word| match lab.path(&format!("{word}.lua")).exists() {
        true => format!("{word}.lua"),
        false => word.to_owned(),
    });
    let words: Vec<String> = std::iter::once("run".to_owned()).chain(words).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // Nothing listens there, so the machine is lost at once.
    let command = lab.command(&words).env("BACKSTAFF_CONTROL_SOCKET", lab.path("gone.sock"));
    let _ = command.run().exits_with(i32::from(code.0));
}

#[test]
fn code_0_is_a_pass_also_beside_what_was_skipped_or_flaky() {
    let lab = lab();
    ends(&lab, "passes", ExitCode(0));
    ends(&lab, "passes skips", ExitCode(0));
    ends(&lab, "is_flaky --retries 1", ExitCode(0));
}

#[test]
fn code_1_is_a_scenario_that_failed_ran_out_of_time_or_is_itself_wrong() {
    let lab = lab();
    for script in ["fails", "times_out", "errs", "fails --retries 1", "is_flaky"] {
        ends(&lab, script, ExitCode(1));
    }
}

#[test]
fn code_2_is_usage_and_a_report_that_cannot_be_written() {
    let lab = lab();
    ends(&lab, "passes --no-such-option", ExitCode(2));
    ends(&lab, "no_such_script.lua", ExitCode(2));
    ends(&lab, "passes --retries many", ExitCode(2));
    ends(&lab, "passes --failed", ExitCode(2));
    ends(&lab, "passes --report junit=passes.lua/report.xml", ExitCode(2));
    let _ = lab.run(&[]).exits_with(2);
}

#[test]
fn code_3_is_a_script_or_profile_that_does_not_load() {
    let lab = lab().file("lanes/broken.toml", "kind = \n");
    ends(&lab, "does_not_load", ExitCode(3));
    ends(&lab, "passes --lane broken", ExitCode(3));
    ends(&lab, "passes --lane no_such_lane", ExitCode(3));
}

#[test]
fn code_4_is_nothing_to_run() {
    let lab = lab();
    ends(&lab, "declares_nothing", ExitCode(4));
    ends(&lab, "passes --filter tag(nobody)", ExitCode(4));
    ends(&lab, "passes", ExitCode(0));
    ends(&lab, "passes --failed", ExitCode(4));
}

#[test]
fn code_5_is_flaky_where_that_fails() {
    let lab = lab();
    ends(&lab, "is_flaky passes --retries 1 --fail-on-flaky", ExitCode(5));
    for (value, code) in [("1", 5), ("true", 5), ("0", 0), ("", 0)] {
        let command = lab.command(&["run", "is_flaky.lua", "--retries", "1"]);
        let _ = command.env("BACKSTAFF_FAIL_ON_FLAKY", value).run().exits_with(code);
    }
}

#[test]
fn code_16_is_a_lane_that_failed() {
    ends(&lab(), "loses_its_lane passes", ExitCode(16));
}

#[test]
fn code_77_is_everything_skipped() {
    ends(&lab(), "skips", ExitCode(77));
}

#[test]
fn code_124_is_the_runs_deadline() {
    ends(&lab(), "waits --timeout 1", ExitCode(124));
}

#[test]
fn code_128_and_n_is_the_signal_that_ended_it() {
    let lab = lab();
    for (signal, number) in [(Signal::HUP, 1), (Signal::INT, 2), (Signal::TERM, 15)] {
        let running = lab.command(&["run", "waits.lua"]).start();
        running.wait_for("here");
        running.signal(signal);
        let _ = running.finish().exits_with(i32::from(ExitCode::signal(number).0));
    }
}

#[test]
fn of_several_the_gravest_is_said() {
    let lab = lab();
    // A report that cannot be written is as wrong usage.
    let no_report = "--report junit=passes.lua/report.xml";
    ends(&lab, &format!("fails {no_report}"), ExitCode(2));
    ends(&lab, &format!("passes does_not_load {no_report}"), ExitCode(2));
    ends(&lab, "fails does_not_load", ExitCode(3));
    ends(&lab, "declares_nothing does_not_load", ExitCode(3));
    ends(&lab, "loses_its_lane fails", ExitCode(1));
    ends(&lab, "loses_its_lane is_flaky --retries 1 --fail-on-flaky", ExitCode(16));
    ends(&lab, "loses_its_lane skips", ExitCode(16));
    ends(&lab, "is_flaky skips --retries 1 --fail-on-flaky", ExitCode(5));
    ends(&lab, "fails waits does_not_load --timeout 1", ExitCode(124));
}

#[test]
fn a_signal_wins_over_a_failure_and_a_report_that_cannot_be_written() {
    let lab = lab();
    let report = "junit=passes.lua/report.xml";
    let running = lab.command(&["run", "fails.lua", "waits.lua", "--report", report]).start();
    running.wait_for("here");
    running.signal(Signal::TERM);
    let _ = running.finish().exits_with(143);
}

#[test]
fn a_report_of_a_run_ends_as_the_run_did() {
    let lab = lab();
    for (arguments, code) in [
        ("passes", 0),
        ("fails loses_its_lane", 1),
        ("fails does_not_load", 3),
        ("is_flaky --retries 1 --fail-on-flaky", 5),
        ("loses_its_lane skips", 16),
        ("skips", 77),
        ("waits --timeout 1", 124),
    ] {
        ends(&lab, arguments, ExitCode(code));
        let run = lab.run_folders().pop().unwrap();
        let _ = lab.run(&["report", run.to_str().unwrap()]).exits_with(i32::from(code));
    }
}

#[test]
fn a_reader_that_goes_away_does_not_kill_the_run() {
    let lab = lab();
    let _ = lab.command(&["run", "passes.lua", "fails.lua"]).read_lines(1).run().exits_with(1);
}

#[test]
fn the_table_in_the_documentation_and_the_help_know_what_the_program_knows() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md")).unwrap();
    let (_, section) = page.split_once("## Exit codes\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows: BTreeMap<&str, &str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "))
        .collect();
    let mut codes: Vec<u8> = rows.keys().filter_map(|code| code.parse().ok()).collect();
    codes.sort_unstable();
    let mut known: Vec<u8> = ExitCode::BY_GRAVITY.iter().map(|code| code.0).collect();
    known.sort_unstable();
    assert_eq!(codes, known, "{section}");
    let signals = rows["128+n"].split([' ', ',', ':']).filter_map(|word| word.parse().ok());
    assert_eq!(signals.collect::<Vec<u8>>(), [1, 2, 15].map(|number| ExitCode::signal(number).0));

    let order: Vec<String> = ExitCode::BY_GRAVITY.iter().map(|code| code.0.to_string()).collect();
    let order = format!("the first of *signal, {}*", order.join(", "));
    assert!(section.contains(&order), "{order} is not in {section}");

    let help = lab().run(&["--help"]).exits_with(0).stdout;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, said) = help.split_once("Exit codes: ").unwrap();
    for code in rows.keys().filter(|code| **code != "code" && !code.starts_with('-')) {
        assert!(said.split([' ', ',']).any(|word| word == *code), "{code} is not in {said}");
    }
}
