//! `docs/control-socket.md` is true: its transcript is the recorded one, its example runs, its lists are complete.

use std::path::Path;
use std::process::Command;

use backstaff::control::protocol::{EventKind, Method};

use super::own::OwnServer;
use crate::cli::lab::skipped;

fn page() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/control-socket.md");
    std::fs::read_to_string(file).unwrap()
}

/// The fenced block of a language that holds this text.
fn block(language: &str, text: &str) -> String {
    let page = page();
    let fence = format!("```{language}\n");
    let blocks = page.split(&*fence).skip(1);
    let mut bodies = blocks.filter_map(|rest| rest.split_once("\n```").map(|(body, _)| format!("{body}\n")));
    bodies.find(|body| body.contains(text)).unwrap_or_else(|| panic!("no {language} block with {text:?}"))
}

#[test]
fn the_transcript_of_the_page_is_the_recorded_one() {
    let recorded = std::fs::read_to_string(super::transcript::file()).unwrap();
    assert_eq!(block("text", "< {\"id\":\"h\""), recorded);
}

#[test]
fn the_page_names_every_verb_and_event() {
    let page = page();
    let methods = Method::ALL.map(|method| format!("### {}", method.name()));
    let missing = methods.iter().find(|heading| !page.contains(&**heading));
    assert_eq!(missing, None);
    let events = EventKind::ALL.map(|kind| format!("| `{}` |", kind.name()));
    let missing = events.iter().find(|row| !page.contains(&**row));
    assert_eq!(missing, None);
}

#[test]
fn the_example_in_python_presses_a_key_and_sees_what_became_of_it() {
    let test = "the_example_in_python_presses_a_key_and_sees_what_became_of_it";
    if !Command::new("python3").arg("--version").output().is_ok_and(|version| version.status.success()) {
        return skipped(test, "no python3");
    }
    let server = OwnServer::start();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("example.py");
    std::fs::write(&script, block("python", "import json, socket")).unwrap();
    let output = Command::new("python3").arg(&script).arg(&server.path).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("surface 1024x768") && out.contains("awaiting -> booting"), "{out}{err}");
}
