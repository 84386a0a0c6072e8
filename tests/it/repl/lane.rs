//! A machine that ends while somebody sits at the prompt.

use rustix::process::{Signal, kill_process};

use super::terminal::Terminal;
use crate::cli::lab::Lab;

#[test]
fn a_machine_that_is_killed_is_said_at_once_and_hangs_nothing() {
    let Some(lab) = Lab::with_rom("a machine that is killed at the prompt") else { return };
    let Some(mut terminal) = Terminal::start(&lab, 60, &["repl"]) else { return };
    terminal.wait_for("rom> ");
    terminal.line("#serial:lines()");
    terminal.wait_for("rom> ");
    terminal.keys("half a li");
    let qemus = lab.qemus();
    assert_eq!(qemus.len(), 1, "{qemus:?}");
    kill_process(rustix::process::Pid::from_raw(qemus[0]).unwrap(), Signal::KILL).unwrap();
    terminal.wait_for("lane rom is gone:");
    terminal.keys("\u{15}");
    terminal.line("serial:wait_for(\"nothing more\", { timeout = 600 })");
    terminal.wait_for("rom> ");
    terminal.line("1 + 1");
    terminal.wait_for("\n2\n");
    terminal.line(":quit");
    terminal.exits_with(0);
    assert_eq!(lab.qemus(), Vec::<i32>::new());
}

#[test]
fn a_guest_that_powers_off_is_said_too() {
    let lab = Lab::bare().file("lanes/fast.toml", "kind = \"sim\"\n[sim]\ntime_scale = 20.0\n");
    let Some(mut terminal) = Terminal::start(&lab, 60, &["repl", "--lane", "fast"]) else { return };
    terminal.wait_for("fast> ");
    for line in [
        ":key enter",
        "digest:wait_for { line_rendered = { row = at_least(21) } }",
        ":key i",
        "digest:wait_for { line_rendered = { row = 25 } }",
        ":type sextant{HELLO_OPERATOR}\\n",
        "digest:wait_for { scene_transition = { to = \"parked\" } }",
        ":key enter",
    ] {
        terminal.line(line);
    }
    terminal.wait_for("lane fast has ended:");
    terminal.line("\"still \" .. \"here\"");
    terminal.wait_for("\n\"still here\"\n");
    terminal.line(":quit");
    terminal.exits_with(0);
}
