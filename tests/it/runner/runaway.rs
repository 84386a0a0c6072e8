//! No script can keep a run from ending, whatever it computes.

use crate::cli::lab::Lab;

#[test]
fn whatever_a_script_computes_it_ends_soon_after_its_deadline() {
    let Some(lab) = Lab::with_rom("runaway scripts") else { return };
    let script = r#"
scenario("spins", { timeout = 0.5 }, function(t) while true do end end)
scenario("spins in pcall", { timeout = 0.5 }, function(t) while true do pcall(error) end end)
scenario("sorts for ever", { timeout = 0.5 }, function(t)
  table.sort({ 1, 2, 3 }, function() while true do end end)
end)
scenario("sleeps", { timeout = 0.5 }, function(t) pcall(t.sleep, t, 3600) end)
scenario("spins in a step", { timeout = 60 }, function(t)
  t:step("short", { timeout = 0.5 }, function() while true do end end)
end)
"#;
    let finished = lab.file("a.lua", script).run(&["run", "a.lua"]).exits_with(1).within(40);
    let _ = finished.says(&[
        "a.lua:2: the scenario (0.5 s) reached its deadline",
        "stack traceback:",
        "a.lua:2: in function",
        "a.lua:3: the scenario (0.5 s) reached its deadline",
        "a.lua:4: the scenario (0.5 s) reached its deadline",
        "a.lua:7: t:sleep: 3600 s do not fit into",
        "a.lua:9: the step \"short\" (0.5 s) reached its deadline",
        "0 passed, 5 failed, 0 skipped",
    ]);
}

#[test]
fn memory_is_capped_and_the_run_goes_on() {
    let Some(lab) = Lab::with_rom("memory bombs") else { return };
    let script = r#"
scenario("a table", { timeout = 20 }, function(t)
  local list = {}
  while true do list[#list + 1] = ("x"):rep(1e6) .. #list end
end)
scenario("a text", { timeout = 20 }, function(t) local s = "x" while true do s = s .. s end end)
scenario("a recursion", { timeout = 20 }, function(t) local function f() return 1 + f() end f() end)
scenario("is fine", function(t) end)
"#;
    let finished = lab.file("a.lua", script).run(&["run", "a.lua"]).exits_with(1).within(40);
    let memory = "the script needs more than its 64 MiB of memory";
    let _ = finished.says(&[memory, memory, memory, "PASS  is fine", "1 passed, 3 failed, 0 skipped"]);
}

#[test]
fn a_pattern_that_never_ends_is_abandoned_and_the_run_goes_on() {
    let Some(lab) = Lab::with_rom("a pattern that never ends") else { return };
    let script = r#"
scenario("stuck", { timeout = 0.5 }, function(t) string.find(("a"):rep(300000), ".-.-.-.-b") end)
scenario("is fine", function(t) end)
"#;
    let _ = lab.file("a.lua", script).run(&["run", "a.lua"]).exits_with(1).within(30).says(&[
        "a.lua:2: the script is stuck inside a single call and was abandoned",
        "screen: logs/",
        "hint: ",
        "matches in linear time",
        "PASS  is fine",
    ]);
}
