//! What authors get wrong every day is answered with the line, their own words and the near miss.

use std::time::{Duration, Instant};

use backstaff::script::FailureKind;

use super::machine::{TestMachine, failure};

#[tokio::test]
async fn a_deadline_that_finds_the_script_computing_says_where() {
    let outcome = TestMachine::new()
        .run_with("timeout = 0.1", "local function spin()\nwhile true do end\nend\nspin()")
        .await;
    let traceback = failure(outcome).traceback.unwrap();
    assert!(traceback.contains("case.lua:3") && traceback.contains("case.lua:5"), "{traceback}");
}

#[tokio::test]
async fn a_sleep_that_does_not_fit_ends_at_the_deadline_at_its_own_line() {
    let began = Instant::now();
    let failure = failure(TestMachine::new().run_with("timeout = 0.2", "\n\npcall(t.sleep, t, 600)").await);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(failure.place.unwrap().line, 4);
    assert!(failure.message.starts_with("t:sleep: 600 s do not fit into the 0."), "{}", failure.message);
}

#[tokio::test]
async fn running_out_of_memory_names_the_scenario_and_what_to_look_for() {
    let failure = failure(TestMachine::new().run("local function f() return 1 + f() end f()").await);
    assert_eq!(failure.place.unwrap().line, 1);
    assert!(failure.hint.unwrap().contains("calls itself"));
}

#[tokio::test]
async fn a_wait_for_a_line_that_fails_shows_the_prompt_that_stands_there() {
    use backstaff::journal::{Body, Source};
    let machine = TestMachine::new();
    machine.serial("booted");
    machine.journal.append(Source::Serial, Body::SerialPrompt { text: "login: ".to_owned() });
    let failure = failure(machine.run("t.serial:wait_for('never', { timeout = 0.05 })").await);
    let seen = "1 line since the last match:\n  booted\nand a line that has not ended yet:\n  login: ";
    assert!(failure.message.ends_with(seen), "{}", failure.message);
}
