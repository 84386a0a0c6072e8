//! Every script on the pages runs. A whole scenario runs as it is; a fragment is the body of one, with the machine's parts
//! as locals. All of them run on the simulated machine, and pass; what needs more, or is to fail, says so at its fence.

use backstaff::script::Outcome;

use super::page::{Block, pages};
use super::transcripts::contained;
use crate::cli::lab::Lab;

#[test]
fn every_script_passes_on_the_simulated_machine() {
    let blocks = scripts(|block| !["qemu", "agent", "fails"].iter().any(|mark| block.is(mark)));
    assert!(blocks.len() > 10, "only {} scripts were found", blocks.len());
    let lab = blocks.iter().fold(Lab::bare(), |lab, block| lab.file(&file_of(block), &source_of(block)));
    run_all(&lab, "sim", &blocks);
}

#[test]
fn every_script_for_a_real_machine_passes_on_one() {
    let blocks = scripts(|block| block.is("qemu"));
    assert!(!blocks.is_empty());
    let Some(lab) = Lab::with_guest("every_script_for_a_real_machine_passes_on_one") else { return };
    let lab = blocks.iter().fold(lab, |lab, block| lab.file(&file_of(block), &source_of(block)));
    run_all(&lab, "sextant", &blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_script_for_an_agent_passes_at_one() {
    let blocks = scripts(|block| block.is("agent"));
    assert!(!blocks.is_empty());
    for block in blocks {
        let test = "every_script_for_an_agent_passes_at_one";
        let Some(outcome) = crate::lane::agent::play_at_an_agent(test, &source_of(&block)).await else {
            return;
        };
        assert!(matches!(outcome, Outcome::Passed), "{}: {outcome:?}", block.place);
    }
}

#[test]
fn a_script_that_is_to_fail_says_what_the_page_says() {
    let mut checked = 0;
    for page in pages() {
        for (at, block) in page.blocks.iter().enumerate().filter(|(_, block)| block.is("fails")) {
            let said = page.blocks.get(at + 1).filter(|said| said.language == "text");
            let said = said.unwrap_or_else(|| panic!("{}: no text follows that says how", block.place));
            let name = block.mark("file").map_or_else(|| file_of(block), str::to_owned);
            let lab = Lab::bare().file(&name, &source_of(block));
            let finished = lab.run(&["run", &name]).exits_with(1);
            contained(&said.text, &finished.stdout).unwrap_or_else(|fault| panic!("{}: {fault}", said.place));
            checked += 1;
        }
    }
    assert!(checked > 0);
}

/// The scripts that this is asked of. Those of a transcript run there.
fn scripts(is_wanted: impl Fn(&Block) -> bool) -> Vec<Block> {
    let blocks = pages().into_iter().flat_map(|page| page.blocks);
    let scripts = blocks.filter(|block| block.language == "lua" && (!block.is("file") || block.is("fails")));
    scripts.filter(is_wanted).collect()
}

fn file_of(block: &Block) -> String {
    let (page, line) = block.place.split_once(':').unwrap();
    format!("examples/{}-{line}.lua", page.replace(['/', '.'], "-"))
}

/// Runs the folder of the examples in one process, and looks at what became of each.
fn run_all(lab: &Lab, lane: &str, blocks: &[Block]) {
    let report = "logs/report.ndjson";
    let ndjson = format!("ndjson={report}");
    // The machines of simulated lanes take little, and their scenarios mostly wait.
    let jobs = if lane == "sim" { "12" } else { "2" };
    let arguments = ["run", "examples", "--lane", lane, "--jobs", jobs, "--report", &ndjson];
    let finished = lab.command(&arguments).run();
    let report = std::fs::read_to_string(lab.path(report)).unwrap();
    let tests: Vec<serde_json::Value> =
        report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for block in blocks {
        let of_block: Vec<_> = tests.iter().filter(|test| test["file"] == file_of(block)).collect();
        assert!(!of_block.is_empty(), "{}: declares no scenario", block.place);
        for test in of_block {
            assert_eq!(
                test["verdict"], "passed",
                "{}: {:#}\n{}",
                block.place, test["failure"], finished.stdout
            );
        }
    }
}

/// The block as a file whose lines have the numbers of the page's.
fn source_of(block: &Block) -> String {
    // One with a name of its own is shown with its own lines.
    if block.is("file") {
        return block.text.clone();
    }
    let above = "\n".repeat(block.line - 1);
    let is_whole =
        |line: &str| ["scenario(", "scenario.only(", "local function "].iter().any(|it| line.starts_with(it));
    if block.text.lines().any(is_whole) {
        return format!("{above}\n{}", block.text);
    }
    let way = match block.mark("at") {
        None => String::new(),
        Some("prompt") => TO_PROMPT.to_owned(),
        Some("question") => format!("{TO_PROMPT} {TO_QUESTION}"),
        Some("parked") => format!("{TO_PROMPT} {TO_QUESTION} {TO_PARKED}"),
        Some(other) => panic!("{}: no machine is at {other:?}", block.place),
    };
    let needs = match (block.is("qemu"), block.is("agent")) {
        (true, _) => "'keyboard', 'screen', 'digest', 'serial', 'qmp', 'snapshot'",
        (_, true) => "'agent', 'keyboard'",
        _ => "'keyboard', 'mouse', 'screen', 'digest', 'serial', 'faults'",
    };
    let locals = if block.is("agent") { "" } else { LOCALS };
    format!(
        "{above}scenario('{}', {{ needs = {{ {needs} }} }}, function(t) {locals} {way}\n{}end)\n",
        block.place, block.text
    )
}

const LOCALS: &str =
    "local keyboard, digest, serial, screen, lane = t.keyboard, t.digest, t.serial, t.screen, t.lane";
const TO_PROMPT: &str = "t.digest:wait_for(any) t.keyboard:press('enter') t.digest:wait_for { line_rendered = { row = at_least(21) } }";
const TO_QUESTION: &str = "t.keyboard:press('i') t.digest:wait_for { line_rendered = { row = 25 } }";
const TO_PARKED: &str = "t.keyboard:type('sextant{HELLO_OPERATOR}\\n') \
                         t.digest:wait_for { scene_transition = { to = 'parked' } }";
