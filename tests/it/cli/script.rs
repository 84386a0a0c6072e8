//! What scripts can say, played by the program: on simulated lanes, and where QEMU's own words matter on a real one.

use super::lab::Lab;

#[test]
fn cases_checks_deferred_functions_and_expectations_in_time_are_played_on_a_simulated_lane() {
    let lab = Lab::bare().file(
        "a.lua",
        r#"scenario("boots", { needs = { "keyboard", "digest", "serial" }, timeout = 60 }, function(t)
  t:defer(function() t:log("the end of " .. t.params.key .. t.params.extra) end)
  t:always("frames go on", { digest = never_decreases("frame_counter") })
  t:always("no panic", { serial = never("panic") })
  t:always("no abort", { digest = never { bootloader_decision = { choice = "abort" } } })
  expect(t.digest).within(30):matches { frame_counter = at_least(1) }
  t.keyboard:press(t.params.key)
  t.digest:wait_for { scene_transition = { from = "awaiting" } }
end):cases { { name = "enter", key = "enter", extra = 1 }, { key = "enter", extra = 2 } }
"#,
    );
    let run =
        |arguments: &[&str]| lab.command(&[&["run", "a.lua"], arguments].concat()).env("PATH", "").run();
    let _ = run(&[]).exits_with(0).says(&["2 passed, 0 failed, 0 skipped"]);
    let journals: String = std::fs::read_dir(lab.run_folder())
        .unwrap()
        .filter_map(|entry| {
            std::fs::read_to_string(entry.unwrap().path().join("attempt-1/journal.ndjson")).ok()
        })
        .collect();
    assert!(journals.contains("the end of enter1") && journals.contains("the end of enter2"), "{journals}");
    for line in journals.lines().filter(|line| line.contains("\"always\"")) {
        assert!(!line.contains("violated"), "{line}");
    }
    assert_eq!(journals.matches("\"state\":\"over\"").count(), 6, "{journals}");
    assert!(journals.contains("\"host_load\":"), "{journals}");
    // What the command line says wins over the cases.
    let _ = run(&["--param", "key=entre"]).exits_with(1).says(&["unknown key `entre`", "2 failed"]);
}

#[test]
fn a_check_that_breaks_fails_the_run_with_the_line_and_the_event_at_once() {
    let body = r#"  t:always("nothing moves", { digest = never { scene_transition = any } })
  t:defer(function() t:log("cleaned up") end)
  t.digest:wait_for(any)
  t.keyboard:press("enter")
  pcall(function() t.serial:wait_for("never") end)"#;
    let lab = Lab::bare().scenario("timeout = 100", body);
    let _ = lab.command(&["run", "a.lua"]).env("PATH", "").run().exits_with(1).within(90).says(&[
        "a.lua:2: t:always: \"nothing moves\" does not hold",
        "scene_transition = { from = \"awaiting\"",
        "0 passed, 1 failed, 0 skipped",
    ]);
    assert!(lab.newest_journal().contains("cleaned up"));
}

#[test]
fn a_wrong_declaration_does_not_load_and_names_the_line() {
    let lab =
        Lab::bare().file("a.lua", "scenario('a', function() end).cases {\n  { x = 1 },\n  { x = 1 },\n}\n");
    let _ = lab.command(&["run", "a.lua"]).env("PATH", "").run().exits_with(3).says(&[
        "a.lua:1: scenario(…).cases: cases 1 and 2 are both named \"x=1\"",
        "give each a `name` of its own",
    ]);
}

#[test]
fn what_qemu_itself_says_breaks_a_check() {
    let Some(lab) = Lab::with_rom("what_qemu_itself_says_breaks_a_check") else { return };
    let talks = "extends = \"rom\"\n[qmp]\nallow = [\"query-*\", \"human-monitor-command\"]\n";
    let body = r#"  t:always("KVM is well", { qemu_log = never("KVM internal error") })
  t:always("no reset", { qemu_log = never("^CPU Reset") })
  t.lane:qmp("human-monitor-command", { ["command-line"] = "log cpu_reset" })
  t.lane:reset()
  t:sleep(60)"#;
    let lab = lab.file("lanes/talks.toml", talks).scenario("timeout = 100", body);
    let _ = lab
        .run(&["run", "a.lua", "--lane", "talks"])
        .exits_with(1)
        .within(50)
        .says(&["a.lua:3: t:always: \"no reset\" does not hold", "qemu_log: \"CPU Reset (CPU 0)\" came"]);
}
