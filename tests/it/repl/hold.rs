//! `backstaff run --hold`: the prompt inside of a scenario that failed.

use super::terminal::Terminal;
use crate::cli::lab::Lab;

const SCRIPT: &str = "scenario(\"boots\", { needs = { \"keyboard\", \"digest\" } }, function(t)
  local keyboard, digest = t.keyboard, t.digest
  digest:wait_for(any)
  t:step(\"booting\", function()
    digest:wait_for({ scene_transition = { from = \"awaiting\" } }, { timeout = 3 })
  end)
end)
";

#[test]
fn a_wait_that_is_held_can_be_helped_and_passes_on() {
    for columns in [40, 100] {
        let lab = Lab::bare().file("boots.lua", SCRIPT);
        let Some(mut terminal) = Terminal::start(&lab, columns, &["run", "--hold", "boots.lua"]) else {
            return;
        };
        terminal.wait_for("RUN   boots");
        terminal.wait_for("HELD  \"boots\" › booting");
        terminal.wait_for("boots.lua:5: ");
        terminal.wait_for("boots.lua:5> ");
        terminal.line(":locals");
        terminal.wait_for("digest");
        terminal.line(":steps");
        terminal.wait_for("… booting");
        terminal.line("keyboard:press(\"enter\")");
        terminal.wait_for("boots.lua:5> ");
        terminal.line(":save fixed.lua");
        terminal.wait_for("saved fixed.lua: \"boots\" with what helped, 1 line of the prompt");
        terminal.line(":retry");
        terminal.wait_for("PASS");
        terminal.wait_for("1 passed, 0 failed, 0 skipped");
        terminal.exits_with(0);
        lab.run(&["run", "fixed.lua"]).exits_with(0);
    }
}

#[test]
fn going_on_or_ending_leaves_the_scenario_failed() {
    let lab = Lab::bare().file("boots.lua", SCRIPT);
    for end in [":continue\r", ":abort\r", "\u{4}"] {
        let Some(mut terminal) = Terminal::start(&lab, 60, &["run", "--hold", "boots.lua"]) else { return };
        terminal.wait_for("boots.lua:5> ");
        terminal.line(":last");
        terminal.wait_for("wanted");
        terminal.wait_for("what happened before:");
        terminal.wait_for("boots.lua:5> ");
        terminal.keys(end);
        terminal.wait_for("FAIL");
        terminal.wait_for("0 passed, 1 failed, 0 skipped");
        terminal.exits_with(1);
    }
}

#[test]
fn a_signal_at_the_prompt_ends_the_run_in_order() {
    let lab = Lab::bare().file("boots.lua", SCRIPT);
    let Some(mut terminal) = Terminal::start(&lab, 60, &["run", "--hold", "boots.lua"]) else { return };
    terminal.wait_for("boots.lua:5> ");
    terminal.keys("half a line");
    terminal.terminate();
    terminal.wait_for("0 passed, ");
    terminal.exits_with(143);
}
