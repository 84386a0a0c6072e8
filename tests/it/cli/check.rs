//! `backstaff check` and `backstaff types` as people run them.

use super::lab::Lab;

fn check(lab: &Lab, arguments: &[&str], code: i32) -> String {
    let all: Vec<&str> = ["check"].iter().chain(arguments).copied().collect();
    lab.command(&all).may_make("nothing").run().exits_with(code).within(60).text()
}

const BAD: &str = "\
scenario(\"logs in\", { needs = { \"keyboard\", \"serial\" } }, function(t)
\tlocal keyboard, serial <const> = t.keyboard, t.serial
  t:step(\"type\", function()
    keyboard:tpye(\"root\\n\")
    serial:wait_for(\"login: \", { timeuot = 3 })
    digest:wait_for(any)
  end)
  t:step(\"leave\", function()
    keyboard:press(\"enter\")
  end)
end)
";

#[test]
fn what_is_wrong_is_said_with_its_place_and_what_was_meant() {
    let lab =
        Lab::bare().file("a.lua", BAD).file("good/b.lua", "scenario(\"b\", function(t) t:sleep(1) end)\n");
    insta::assert_snapshot!(check(&lab, &["a.lua", "good"], 3), @r#"
    a.lua:4:14: error: `keyboard` has no `tpye`, did you mean `type`? [unknown-member]
        4 |     keyboard:tpye("root\n")
          |              ^^^^

    a.lua:5:34: error: serial:wait_for: unknown option `timeuot`, did you mean `timeout`? [unknown-option]
        5 |     serial:wait_for("login: ", { timeuot = 3 })
          |                                  ^^^^^^^

    a.lua:6:5: error: there is no global `digest`, did you mean `t.digest`? [unknown-global]
        6 |     digest:wait_for(any)
          |     ^^^^^^

    a.lua:9:5: warning: nothing waits for what `keyboard:press` leads to: neither this step nor the rest of the scenario waits or expects anything [no-wait-after-input]
        9 |     keyboard:press("enter")
          |     ^^^^^^^^^^^^^^
      hint: wait for its effect, such as `t.serial:wait_for("…")`; or say why not, in the line above: `-- backstaff: allow(no-wait-after-input) REASON`

    3 errors, 1 warning in 1 of 2 scripts
    "#);
    assert!(check(&lab, &["good"], 0).contains("1 script, nothing wrong"));
}

#[test]
fn each_kind_of_script_that_does_not_load_is_said() {
    let lab = Lab::bare()
        .file("s/1.lua", "scenario('a', function(t)\n  t:log(1 2)\nend)\n")
        .file("s/2.lua", "error('at the top')\n")
        .file("s/3.lua", "scenario('a', function() end)\n\nscenario('a', function() end)\n")
        .file("s/4.lua", "scenario('a', { lane = 'smi' }, function() end)\n")
        .file("s/5.lua", "scenario('a', { lane = 'sim', needs = { 'snapshot' } }, function() end)\n")
        .file("s/6.lua", "scenario('a', { needs = { 'faults', 'qmp' } }, function() end)\n")
        .file("s/7.lua", "scenario('a', { needs = { 'keybord' }, tiemout = 3 }, function() end)\n");
    std::fs::write(lab.path("s/8.lua"), b"print('\xff')\n").unwrap();
    insta::assert_snapshot!(check(&lab, &["s"], 3), @r#"
    s/1.lua:2:11: error: ')' expected near '2' [syntax]
        2 |   t:log(1 2)
          |           ^

    s/2.lua:1:1: error: at the top [load]
        1 | error('at the top')
          | ^^^^^^^^^^^^^^^^^^^

    s/3.lua:3:10: error: a scenario named "a" is declared already in line 1 [duplicate-name]
        3 | scenario('a', function() end)
          |          ^^^
      hint: reports and filters tell scenarios by their names

    s/4.lua:1:1: error: no lane profile named "smi", did you mean "sim"? [unknown-lane]
        1 | scenario('a', { lane = 'smi' }, function() end)
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: known lanes: none, sim; searched for `*.toml` in
        [lab]/s/lanes
        [lab]/s
        [lab]/scenarios/lanes

    s/5.lua:1:1: error: "a" would always be skipped: lane "sim" offers no snapshot [unmet-needs]
        1 | scenario('a', { lane = 'sim', needs = { 'snapshot' } }, function() end)
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: lane "sim" offers digest, faults, keyboard, mouse, screen, serial

    s/6.lua:1:1: error: "a" would always be skipped: no lane offers all that it needs [unmet-needs]
        1 | scenario('a', { needs = { 'faults', 'qmp' } }, function() end)
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: "sim" has no qmp

    s/7.lua:1:27: error: scenario: there is no "keybord", did you mean "keyboard"? [unknown-choice]
        1 | scenario('a', { needs = { 'keybord' }, tiemout = 3 }, function() end)
          |                           ^^^^^^^^^

    s/7.lua:1:40: error: scenario: unknown option `tiemout`, did you mean `timeout`? [unknown-option]
        1 | scenario('a', { needs = { 'keybord' }, tiemout = 3 }, function() end)
          |                                        ^^^^^^^

    s/8.lua: error: cannot be read: not UTF-8 text from byte 7 on [unreadable]

    9 errors, 0 warnings in 8 of 8 scripts
    "#);
}

#[test]
fn warnings_alone_fail_only_where_they_are_denied() {
    let lab = Lab::bare().file("a.lua", "scenario('a', function(t)\n  t.keyboard:press('a')\nend)\n");
    assert!(check(&lab, &["a.lua"], 0).contains("0 errors, 1 warning in 1 of 1 script"));
    check(&lab, &["a.lua", "--deny-warnings"], 3);
    let allowed = "scenario('a', function(t)\n  -- backstaff: allow(no-wait-after-input) it is over\n  t.keyboard:press('a')\nend)\n";
    let lab = lab.file("a.lua", allowed);
    check(&lab, &["a.lua", "--deny-warnings"], 0);
    let lab = lab.file("a.lua", &allowed.replace(" it is over", ""));
    assert!(check(&lab, &["a.lua"], 3).contains("does not say why"));
}

#[test]
fn programs_get_one_document() {
    let lab = Lab::bare().file("a.lua", "scenario('a', function(t)\n  t:stpe('x')\nend)\n");
    insta::assert_snapshot!(check(&lab, &["--json", "a.lua"], 3), @r#"
    {
      "errors": 1,
      "findings": [
        {
          "column": 5,
          "file": "a.lua",
          "hint": null,
          "length": 4,
          "line": 2,
          "message": "`t` has no `stpe`, did you mean `step`?",
          "rule": "unknown-member",
          "severity": "error"
        }
      ],
      "format": "backstaff-check",
      "scripts": 1,
      "version": 1,
      "warnings": 0
    }
    "#);
    let clean = Lab::bare().file("a.lua", "scenario('a', function() end)\n");
    let document: serde_json::Value = {
        let text = check(&clean, &["--json", "a.lua"], 0);
        serde_json::from_str(text.split_once('{').map(|(_, rest)| format!("{{{rest}")).unwrap().trim())
            .unwrap()
    };
    assert_eq!(document["format"], "backstaff-check");
    assert_eq!(document["version"], 1);
    assert_eq!(document["findings"], serde_json::json!([]));
}

#[test]
fn lanes_of_the_project_meet_needs_as_a_run_would_find_them() {
    let needs = "scenario('a', { needs = { 'agent', 'keyboard' } }, function() end)\n";
    let lab = Lab::bare().file("a.lua", needs).file("lanes/east.toml", "kind = \"qemu\"\n");
    assert!(check(&lab, &["a.lua"], 3).contains("\"east\" has no agent"));
    let lab = lab.file("lanes/west.toml", "kind = \"qemu\"\n\n[agent]\nenabled = true\n");
    check(&lab, &["a.lua"], 0);
    // Nobody knows what a profile with a mistake would offer, and it is not this scenario's.
    let lab = lab.file("lanes/west.toml", "kind = \"qmeu\"\n");
    check(&lab, &["a.lua"], 0);
    let lab = lab.file("a.lua", "scenario('a', { lane = 'west' }, function() end)\n");
    assert!(check(&lab, &["a.lua"], 3).contains("[unknown-lane]"));
}

#[test]
fn hostile_scripts_are_refused_in_time() {
    let deep = format!("x = {}1{}\n", "(".repeat(100_000), ")".repeat(100_000));
    let lab = Lab::bare()
        .file("s/deep.lua", &deep)
        .file("s/large.lua", &"x = 1\n".repeat(10 << 20 >> 3))
        .file("s/long.lua", &format!("scenario('a', function(t) t:stpe({}1) end)\n", "1 + ".repeat(100_000)))
        .file("s/empty.lua", "")
        .file("s/endless.lua", "while true do end\n");
    let text = check(&lab, &["s"], 3);
    assert!(text.contains("s/deep.lua:1:") && text.contains("[syntax]"), "{text}");
    assert!(text.contains("s/endless.lua:1:1: error: the script's top level ran for 5 s"), "{text}");
    assert!(text.lines().all(|line| line.len() < 400), "{text}");
}

#[test]
fn our_own_scripts_and_examples_are_clean() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts = backstaff::runner::discover(&[root.join("scenarios")]).unwrap();
    let checked = backstaff::runner::check::check(&scripts, &[], root).unwrap();
    assert!(checked.len() >= 3, "{checked:?}");
    for script in checked {
        assert_eq!(script.findings, [], "{}", script.path.display());
    }
}

#[test]
fn usage_and_paths_are_answered_as_everywhere() {
    let lab = Lab::bare();
    assert!(check(&lab, &[], 2).contains("scenarios: No such file or directory"));
    assert!(check(&lab, &["--jsno"], 2).contains("a similar argument exists: '--json'"));
    let lab = lab.file("a.lua", "").file("backstaff.toml", "lnae = 1\n");
    assert!(check(&lab, &["a.lua"], 3).contains("unknown field `lnae`"));
}

#[test]
fn types_are_printed_and_written_for_editors() {
    let lab = Lab::bare();
    let printed = lab.command(&["types"]).may_make("nothing").run().exits_with(0).text();
    assert!(printed.contains("---@class backstaff.Keyboard"), "{printed}");
    let text = lab.command(&["types", "made/types"]).may_make("made").run().exits_with(0).text();
    assert!(text.contains("made/types/backstaff.lua"), "{text}");
    let written = std::fs::read_to_string(lab.path("made/types/backstaff.lua")).unwrap();
    assert!(printed.contains(written.lines().nth(20).unwrap()), "{written}");
    let lab = Lab::bare().file("file", "");
    let text = lab.command(&["types", "file/below"]).may_make("nothing").run().exits_with(2).text();
    assert!(text.contains("file/below") && text.contains("hint:"), "{text}");
}

#[test]
fn the_page_names_every_rule_and_how_bad_it_is() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md")).unwrap();
    for rule in backstaff::script::lint::Rule::ALL {
        let row = format!("| `{}` | {} |", rule.name(), rule.severity().name());
        assert!(page.contains(&row), "docs/cli.md has no row {row}");
    }
}
