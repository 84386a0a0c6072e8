//! `backstaff repl` on the simulated lane, typed at by somebody.

use super::terminal::Terminal;
use crate::cli::lab::Lab;

const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";
/// Ctrl-U throws the line away, and nothing that was typed behind it.
const CLEAR: &str = "\u{15}";
const UP: &str = "\u{1b}[A";
const LEFT: &str = "\u{1b}[D";

#[test]
fn lua_is_typed_and_answered_and_the_lane_goes_down_with_it() {
    let lab = Lab::bare();
    let Some(mut terminal) = Terminal::start(&lab, 100, &["repl"]) else { return };
    terminal.wait_for("lane sim is up; type Lua, or :help");
    terminal.wait_for("sim> ");
    terminal.line("1 + 1");
    terminal.wait_for("\n2\n");
    // What is set stays, and more lines complete a piece.
    terminal.line("name = \"起動\"");
    terminal.line("name .. [[ größer]]");
    terminal.wait_for("\n\"起動 größer\"\n");
    terminal.line("for i = 1, 3 do");
    terminal.line("  last = i");
    terminal.line("end");
    terminal.line("last");
    terminal.wait_for("\n3\n");
    // The cursor stands between two characters that take two columns each.
    terminal.keys("\"起動\"");
    terminal.keys(&LEFT.repeat(2));
    terminal.line("す");
    terminal.wait_for("\n\"起す動\"\n");
    terminal.line("digest:wait_for(any)");
    terminal.wait_for("frame_counter");
    terminal.line("digest:wait_fro(any)");
    terminal.wait_for("wait_for");
    terminal.line(":quit");
    terminal.exits_with(0);
    assert!(lab.session_folder().is_dir());
}

#[test]
fn a_block_that_is_pasted_is_one_input() {
    let lab = Lab::bare();
    let Some(mut terminal) = Terminal::start(&lab, 40, &["repl"]) else { return };
    terminal.wait_for("sim> ");
    terminal.keys("\u{1b}[200~local sum = 0\rfor i = 1, 4 do\r  sum = sum + i\rend\rprint(\"unused\")\rreturn sum * 100\u{1b}[201~");
    terminal.keys("\r");
    terminal.wait_for("\n1000\n");
    terminal.wait_for("sim> ");
    terminal.keys(CTRL_D);
    terminal.wait_for(":quit");
    terminal.exits_with(0);
}

#[test]
fn ctrl_c_ends_the_call_that_waits_and_twice_the_session() {
    let lab = Lab::bare();
    let Some(mut terminal) = Terminal::start(&lab, 100, &["repl"]) else { return };
    terminal.wait_for("sim> ");
    terminal.line("print(\"it begins\") serial:wait_for(\"this never comes\", { timeout = 1000 })");
    // The line itself holds the words; the second time they are said.
    terminal.wait_for("it begins");
    wait_for_log(&lab, "this never comes");
    terminal.keys(CTRL_C);
    terminal.wait_for("cancelled");
    terminal.line("t:log(\"comp\" .. \"uting\") while true do end");
    wait_for_log(&lab, "computing");
    terminal.keys(CTRL_C);
    terminal.line("40 + 2");
    terminal.wait_for("\n42\n");
    terminal.wait_for("sim> ");
    terminal.keys("half a line");
    terminal.keys(CTRL_C);
    terminal.wait_for("sim> ");
    terminal.keys(CTRL_C);
    terminal.wait_for(":quit or Ctrl-D leaves, and so does Ctrl-C once more");
    terminal.wait_for("sim> ");
    terminal.line(":quit");
    terminal.exits_with(0);
}

/// Waits until the session's journal tells of it.
fn wait_for_log(lab: &Lab, text: &str) {
    let journal = crate::cli::lab::only_folder(&lab.session_folder()).join("attempt-1/journal.ndjson");
    lab.wait_for_file(&journal, text);
}

#[test]
fn what_was_typed_is_there_again_in_the_next_session() {
    let lab = Lab::bare();
    for session in 0..2 {
        let Some(mut terminal) = Terminal::start(&lab, 40, &["repl"]) else { return };
        terminal.wait_for("sim> ");
        if session == 0 {
            terminal.line("6 * 7 -- größer");
        } else {
            terminal.keys(UP);
            terminal.keys(UP);
            terminal.wait_for("6 * 7 -- größer");
            terminal.keys("\r");
        }
        terminal.wait_for("\n42\n");
        terminal.line(":quit");
        terminal.exits_with(0);
    }
    let kept = std::fs::read_to_string(lab.path("logs/repl-history")).unwrap();
    assert!(kept.contains("6 * 7 -- größer\n:quit\n"), "{kept}");
}

#[test]
fn a_history_that_cannot_be_kept_is_said_and_no_reason_to_end() {
    let lab = Lab::bare();
    std::fs::create_dir_all(lab.path("logs/repl-history")).unwrap();
    let Some(mut terminal) = Terminal::start(&lab, 100, &["repl"]) else { return };
    terminal.wait_for("note: what is typed is not kept: logs/repl-history: it is no file");
    terminal.wait_for("sim> ");
    terminal.line("7");
    terminal.wait_for("\n7\n");
    terminal.line(":quit");
    terminal.exits_with(0);
}

#[test]
fn tab_completes_names_methods_options_and_commands() {
    let lab = Lab::bare();
    let Some(mut terminal) = Terminal::start(&lab, 100, &["repl"]) else { return };
    terminal.wait_for("sim> ");
    terminal.keys("keyb\t:pr\t\"enter\", { ho\t0.1 })");
    terminal.wait_for("keyboard:press(\"enter\", { hold = 0.1 })");
    terminal.keys("\r");
    terminal.wait_for("sim> ");
    terminal.line("mine = 5");
    terminal.wait_for("sim> ");
    terminal.keys("min\t");
    terminal.wait_for("mine");
    terminal.keys(" * 5\r");
    terminal.wait_for("\n25\n");
    terminal.keys(":stat\u{15}:ste\t\r");
    terminal.wait_for(":steps");
    terminal.wait_for("no step has begun");
    terminal.keys("digest:\t");
    terminal.wait_for("history");
    terminal.wait_for("wait_for");
    terminal.keys(CLEAR);
    terminal.line(":quit");
    terminal.exits_with(0);
}

#[test]
fn events_stand_above_the_line_that_is_typed() {
    let lab = Lab::bare();
    let Some(mut terminal) = Terminal::start(&lab, 60, &["repl"]) else { return };
    terminal.wait_for("sim> ");
    // The guest draws twice a second, for ever.
    terminal.line(":events screen");
    terminal.wait_for("events of screen are told");
    terminal.wait_for("sim> ");
    terminal.keys("half a lï");
    terminal.wait_for("half a lï");
    terminal.wait_for("drawn within");
    // The line is drawn anew below.
    terminal.wait_for("sim> half a lï");
    terminal.keys(CLEAR);
    terminal.line(":events off");
    terminal.wait_for("no events are told");
    terminal.line(":quit");
    terminal.exits_with(0);
}

#[test]
fn the_screen_is_shown_and_saved() {
    let lab = Lab::bare();
    let Some(mut terminal) = Terminal::start(&lab, 40, &["repl"]) else { return };
    terminal.wait_for("sim> ");
    terminal.line(":shot");
    let picture = terminal.wait_for("1024x768, saved as ");
    let rows = picture
        .lines()
        .filter(|line| line.chars().count() == 39 && line.chars().all(|c| " ░▒▓█".contains(c)));
    assert!(rows.count() > 8, "{picture}");
    terminal.line(":shot file mine.png");
    terminal.wait_for("saved as mine.png");
    terminal.line(":shot sixel");
    terminal.wait_for("saved as ");
    terminal.line(":quit");
    terminal.exits_with(0);
    let png = std::fs::read(lab.path("mine.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    let below =
        crate::cli::lab::only_folder(&lab.session_folder()).join("attempt-1/screenshots/prompt-01.png");
    assert!(below.is_file());
}
