//! Without a terminal: lines in, plain results out.

use std::io::Write as _;
use std::process::Stdio;

use crate::cli::lab::Lab;

/// What `backstaff repl` with these arguments says to these lines, and how it ends.
fn repl(lab: &Lab, arguments: &[&str], lines: &str) -> (String, Option<i32>) {
    let all: Vec<&str> = std::iter::once("repl").chain(arguments.iter().copied()).collect();
    let mut child = lab.command(&all).into_command().stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (text, output.status.code())
}

#[test]
fn an_empty_folder_and_a_pipe_are_enough() {
    let lab = Lab::bare();
    let lines = "1 + 1\nfor i = 1, 2 do\n  x = i\n  print(\"at\", i)\nend\nx, \"y\"\n#digest:history() > 0 or digest:wait_for(any) ~= nil\n";
    assert_eq!(repl(&lab, &[], lines), ("2\nat\t1\nat\t2\n2\n\"y\"\ntrue\n".to_owned(), Some(0)));
    assert!(!lab.path("logs/repl-history").exists(), "nobody typed");
}

#[test]
fn a_line_that_fails_fails_the_whole() {
    let lab = Lab::bare();
    let (text, code) = repl(&lab, &[], "digest:wait_fro(any)\n:sve x\nfor i = 1 do\n");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("`:save`"), "{text}");
    assert!(text.contains("wait_for"), "{text}");
    // The last piece was cut off, and Lua says so.
    assert!(text.contains("near"), "{text}");
}

#[test]
fn what_cannot_begin_says_why() {
    let lab = Lab::bare().file("b.lua", "scenario(");
    assert_eq!(repl(&lab, &["nowhere.lua"], "").1, Some(2));
    assert_eq!(repl(&lab, &["--lane", "nowhere"], "").1, Some(3));
    let (text, code) = repl(&lab, &["b.lua"], "1\n");
    assert!(text.contains("b.lua:1") && text.ends_with("1\n"), "{text}");
    assert_eq!(code, Some(1));
    let lab = lab.scenario("", "expect(1):equals(2)");
    lab.run(&["run", "--hold", "a.lua"])
        .exits_with(2)
        .says(&["error: --hold wants a terminal, and standard input is none"]);
}

/// What somebody does who meets a wait that fails, and wants the scenario to pass from then on.
#[test]
fn a_wait_that_fails_is_helped_and_the_saved_scenario_passes() {
    let lab = Lab::bare().file(
        "boots.lua",
        "scenario(\"boots\", { needs = { \"keyboard\", \"digest\" } }, function(t)\n  local wanted = \"booting\"\n  \
         t:step(\"awaiting\", function()\n    t.digest:wait_for(any)\n  end)\n  t:step(\"booting\", function()\n    \
         local row = at_least(3)\n    t.digest:wait_for({ scene_transition = { to = wanted } }, { timeout = 3 })\n    \
         t.digest:wait_for { line_rendered = { row = row } }\n  end)\nend)\n",
    );
    let lines =
        ":run\n:locals\nwanted\ndigest:latest().frame_counter > 0\n:key enter\n:retry\n:save fixed.lua\n";
    let (text, code) = repl(&lab, &["boots.lua"], lines);
    for wanted in [
        "HELD  \"boots\" › booting",
        "boots.lua:8: ",
        "wanted",
        "\n\"booting\"\ntrue\n",
        "PASS  boots",
        "saved fixed.lua",
    ] {
        assert!(text.contains(wanted), "{wanted:?} in\n{text}");
    }
    assert_eq!(code, Some(0), "{text}");
    let saved = std::fs::read_to_string(lab.path("fixed.lua")).unwrap();
    assert!(
        saved.contains("    local row = at_least(3)\n    t.keyboard:press(\"enter\")\n    t.digest"),
        "{saved}"
    );
    lab.run(&["run", "boots.lua"]).exits_with(1);
    lab.run(&["run", "fixed.lua"]).exits_with(0).says(&["1 passed, 0 failed"]);
}

#[test]
fn a_session_is_saved_as_a_scenario_that_passes() {
    let lab = Lab::bare();
    let lines = "digest:wait_for(any)\nkey = \"enter\"\nkeyboard:press(key)\ndigest:latest().frame_counter\nnothing:there()\n\
                 seen = digest:wait_for { scene_transition = { from = \"awaiting\" } }\n:save my-boot.lua\n";
    let (text, code) = repl(&lab, &[], lines);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("saved my-boot.lua: a scenario of what worked, 4 lines of the prompt"), "{text}");
    lab.run(&["run", "my-boot.lua"]).exits_with(0).says(&["my boot", "1 passed, 0 failed"]);
}
