//! What does not even begin: every mistake before a machine is wanted is answered at once, exactly, and leaves no trace.

use super::lab::{Finished, Lab};

/// Runs in a folder without machines and checks that nothing at all was made.
fn refused(lab: &Lab, arguments: &[&str], code: i32) -> String {
    lab.command(arguments).may_make("nothing").run().exits_with(code).within(30).text()
}

fn with_lane(lane: &str) -> Lab {
    Lab::bare().file("lanes/east.toml", lane).file("backstaff.toml", "lane = \"east\"\n")
}

const LANE: &str = "kind = \"qemu\"\n";

#[test]
fn arguments_that_are_wrong_name_the_near_miss_or_the_form() {
    let lab = with_lane(LANE).scenario("", "");
    let cases: [(&[&str], &str); 6] = [
        (&["rnu", "a.lua"], "unrecognized subcommand 'rnu'"),
        (&["run", "a.lua", "--fliter", "x"], "a similar argument exists: '--filter'"),
        (&["run", "a.lua", "--param", "user"], "wants KEY=VALUE, such as user=root"),
        (&["run", "a.lua", "--param", "=root"], "wants KEY=VALUE, such as user=root"),
        (&["run", "a.lua", "--timeout", "0"], "wants more than 0 and at most 10,000,000 seconds"),
        (&["run", "a.lua", "--timeout", "soon"], "wants a number of seconds, such as 600"),
    ];
    for (arguments, wanted) in cases {
        let text = refused(&lab, arguments, 2);
        assert!(text.contains(wanted), "{arguments:?}: {text}");
    }
}

#[test]
fn paths_that_lead_to_no_script_say_what_a_script_is() {
    let lab = with_lane(LANE).file("empty.d/notes.txt", "").file("looks.lua/notes.txt", "");
    insta::assert_snapshot!(refused(&lab, &["run", "no.lua"], 2), @r"
    [stderr]
    error: no.lua: No such file or directory (os error 2)
    hint: scripts are files that end in `.lua`; name one, or a folder that holds some
    ");
    insta::assert_snapshot!(refused(&lab, &["run", "empty.d", "looks.lua"], 2), @r"
    [stderr]
    error: empty.d holds no `*.lua` script
    hint: scripts are files that end in `.lua`; name one, or a folder that holds some
    ");
    let text = refused(&lab, &["run", "looks.lua"], 2);
    assert!(text.contains("looks.lua holds no `*.lua` script"), "{text}");
    let text = refused(&lab, &["run"], 2);
    assert!(text.contains("scenarios: No such file or directory"), "{text}");
}

#[test]
fn a_lane_that_is_not_there_names_the_near_miss_and_where_it_was_looked_for() {
    let lab = Lab::bare().scenario("", "").file("lanes/east.toml", LANE).file("more/west.toml", LANE);
    let near = ["run", "a.lua", "--lane", "esat", "--lane-dir", "more"];
    insta::assert_snapshot!(refused(&lab, &near, 3), @r#"
    [stderr]
    error: no lane profile named "esat", did you mean "east"?
    hint: known lanes: east, none, sim, west; searched for `*.toml` in
      [lab]/more
      [lab]/lanes
      [lab]
      [lab]/scenarios/lanes
    "#);
    let text = refused(&lab, &["run", "a.lua", "--lane", "../lanes/east"], 3);
    assert!(text.contains("no lane profile named \"../lanes/east\""), "{text}");
}

#[test]
fn a_profile_or_project_that_is_wrong_names_file_line_and_column() {
    let lab = with_lane("kind = \"qemu\"\n\n[machine]\nacel = \"tcg\"\n").scenario("", "");
    insta::assert_snapshot!(refused(&lab, &["run", "a.lua"], 3), @r"
    [stderr]
    error: [lab]/lanes/east.toml:4:1: unknown key `acel`, did you mean `accel`?
    ");
    let cases = [
        ("kind = \"qemu\"\n[machine]\nmemory_mib = 0\n", "east.toml:3:14: `memory_mib` is \"0\""),
        ("kind = \"qemu\"\n[boot]\nkernel = \"../../../etc/passwd\"\n", "lies outside the project tree"),
        ("kind = qemu\n", "east.toml:1:"),
        ("", "east.toml"),
    ];
    for (profile, wanted) in cases {
        let text = refused(&with_lane(profile).scenario("", ""), &["run", "a.lua"], 3);
        assert!(text.contains(wanted), "{profile}: {text}");
    }
    let lab = with_lane(LANE).scenario("", "").file("backstaff.toml", "lain = \"east\"\n");
    let text = refused(&lab, &["run", "a.lua"], 3);
    assert!(text.contains("backstaff.toml") && text.contains("line 1"), "{text}");
}

#[test]
fn a_script_that_does_not_compile_shows_its_line() {
    let lab = with_lane(LANE).file("a.lua", "-- boots\nscenario(\"a\", function(t)\n  local x = = 3\nend)\n");
    insta::assert_snapshot!(refused(&lab, &["run", "a.lua"], 3), @r#"
    ERROR a script does not load
          a.lua:3: unexpected symbol near '='
                 1 | -- boots
                 2 | scenario("a", function(t)
            >    3 |   local x = = 3
    1 script did not load
    0 passed, 1 failed, 0 skipped
    "#);
}

#[test]
fn a_script_that_declares_something_wrong_shows_its_line_and_what_is_known() {
    let cases = [
        (
            "scenario('a', function() end)\nscenario('a', function() end)",
            "a.lua:2: a scenario named \"a\" is declared already in line 1",
        ),
        ("scenario('a', { timout = 1 }, function() end)", "unknown option `timout`, did you mean `timeout`?"),
        (
            "scenario('a', { needs = { 'keybord' } }, function() end)",
            "unknown need `keybord`, did you mean `keyboard`?",
        ),
        ("scenario('a', { needs = { 'telepathy' } }, function() end)", "known needs: "),
        (
            "scenario('a', { timeout = 'long' }, function() end)",
            "option `timeout` wants a number of seconds, got the string \"long\"",
        ),
        ("scenario('a')", "a.lua:1: scenario: wants (name, [options], function), got nil"),
        ("scenario(' ', function() end)", "a.lua:1: scenario: the name is empty"),
        ("scenrio('a', function() end)", "did you mean `scenario`?"),
        ("error('boom')", "a.lua:1: boom"),
    ];
    for (source, wanted) in cases {
        let text = refused(&with_lane(LANE).file("a.lua", source), &["run", "a.lua"], 3);
        assert!(text.contains(wanted), "{source}: {text}");
    }
}

#[test]
fn a_selection_that_is_empty_says_of_how_many() {
    let lab = with_lane(LANE).scenario("", "").file("b.lua", "local helper = 1\n");
    insta::assert_snapshot!(refused(&lab, &["run", "a.lua", "--filter", "nothing"], 4), @r"
    0 passed, 0 failed, 0 skipped
    [stderr]
    error: nothing was selected: the scripts declare 1 scenario
    hint: `--filter` looks for text in names and files, `--tag` for a tag; `backstaff list` shows what there is
    ");
    let text = refused(&lab, &["run", ".", "--tag", "nothing"], 4);
    assert!(text.contains("the scripts declare 1 scenario"), "{text}");
    insta::assert_snapshot!(refused(&lab, &["run", "b.lua"], 4), @r#"
    0 passed, 0 failed, 0 skipped
    [stderr]
    error: no script declares a scenario
    hint: a script declares them at its top level: `scenario("what it promises", function(t) … end)`
    "#);
}

#[test]
fn help_and_version_are_answers_not_errors() {
    let lab = Lab::bare();
    let Finished { stdout, stderr, .. } = lab.run(&["-V"]).exits_with(0);
    assert_eq!((stdout, stderr), (format!("backstaff {}\n", env!("CARGO_PKG_VERSION")), String::new()));
    let help = lab.run(&["run", "--help"]).exits_with(0).stdout;
    for word in ["--lane", "--filter", "--timeout", "Examples:"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}
