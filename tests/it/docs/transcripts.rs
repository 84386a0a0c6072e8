//! Transcripts on the pages: what is typed is run, in a folder of the page's own that has the files which the page shows,
//! and what it says is what the page says, but for times, counts and the names of runs.
//!
//! `…` on a page stands for anything: at the end of a line for its rest, on a line of its own for any lines.

use std::path::PathBuf;

use regex_lite::Regex;

use super::page::{Block, Page, pages};
use crate::cli::lab::Lab;

#[test]
fn what_is_typed_on_a_page_says_what_the_page_says() {
    let pages: Vec<Page> =
        pages().into_iter().filter(|page| page.blocks.iter().any(|block| block.is("run"))).collect();
    assert!(!pages.is_empty(), "no page has a transcript");
    let faults: Vec<String> = std::thread::scope(|scope| {
        let playing: Vec<_> = pages.iter().map(|page| scope.spawn(|| play(page))).collect();
        playing.into_iter().flat_map(|page| page.join().unwrap()).collect()
    });
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn every_file_of_a_page_is_used_by_what_is_typed_after_it() {
    for page in pages() {
        for (at, block) in page.blocks.iter().enumerate() {
            let Some(file) = block.mark("file").filter(|_| !block.is("fails")) else { continue };
            let folder = file.split('/').next().unwrap();
            let is_used = |later: &Block| {
                later.is("run") && (later.text.contains(folder) || later.text.contains("backstaff run\n"))
            };
            assert!(
                page.blocks[at..].iter().any(is_used),
                "{}: nothing that is run uses {file}",
                block.place
            );
        }
    }
}

/// Plays a page from its beginning to its end; returns what was said otherwise.
fn play(page: &Page) -> Vec<String> {
    let lab = Lab::bare();
    let mut folder = lab.path("project");
    std::fs::create_dir(&folder).unwrap();
    let mut faults = Vec::new();
    for block in &page.blocks {
        if let Some(file) = block.mark("file").filter(|_| !block.is("fails")) {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &block.text).unwrap();
        }
        if block.is("run") {
            faults.extend(
                play_block(&lab, &mut folder, block).err().map(|fault| format!("{}: {fault}", block.place)),
            );
        }
    }
    faults
}

fn play_block(lab: &Lab, folder: &mut PathBuf, block: &Block) -> Result<(), String> {
    let parts = match block.language.as_str() {
        "console" => commands(&block.text),
        _ => vec![(block.text.clone(), None)],
    };
    let last = parts.len() - 1;
    for (at, (command, said)) in parts.into_iter().enumerate() {
        // Each command has a shell of its own.
        if let Some(inner) = command.strip_prefix("cd ") {
            folder.push(inner);
            continue;
        }
        let mut shell = lab.shell(&command).into_command();
        // As people call it.
        shell.env_remove("BACKSTAFF_JOBS").current_dir(&*folder);
        let output = shell.output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout)
            .replace(lab.path("project").to_str().unwrap(), "/srv/project");
        let wanted = match block.mark("exit").filter(|_| at == last) {
            Some(code) => code.parse().unwrap(),
            None => 0,
        };
        if output.status.code() != Some(wanted) {
            return Err(format!("`{command}` ended with {}, not {wanted}:\n{text}", output.status));
        }
        if let Some(said) = said {
            same(&said, &text).map_err(|fault| format!("`{command}`: {fault}"))?;
        }
    }
    Ok(())
}

/// What is typed, and what is said to it.
fn commands(text: &str) -> Vec<(String, Option<String>)> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push((command.to_owned(), Some(String::new()))),
            (None, Some((_, Some(said)))) => said.push_str(&format!("{line}\n")),
            (None, _) => panic!("{line:?} is said to nothing"),
        }
    }
    found
}

/// Checks that something said is what the page says.
fn same(page: &str, said: &str) -> Result<(), String> {
    match fits(&lines(page), &lines(said)) {
        true => Ok(()),
        false => Err(format!("the page says\n{page}\nand backstaff\n{said}")),
    }
}

/// Checks that something that the page says is part of what is said.
pub(super) fn contained(page: &str, said: &str) -> Result<(), String> {
    let mut wanted = vec!["…".to_owned()];
    wanted.extend(lines(page));
    wanted.push("…".to_owned());
    match fits(&wanted, &lines(said)) {
        true => Ok(()),
        false => Err(format!("the page says\n{page}\nand backstaff\n{said}")),
    }
}

fn fits(page: &[String], said: &[String]) -> bool {
    match (page.split_first(), said.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "…" => {
            (0..=said.len()).any(|skipped| fits(rest, &said[skipped..]))
        }
        (Some((first, rest)), Some((line, others))) => line_fits(first, line) && fits(rest, others),
        _ => false,
    }
}

fn line_fits(page: &str, said: &str) -> bool {
    let mut parts = page.split('…');
    let Some(mut rest) = parts.next().and_then(|first| said.strip_prefix(first)) else { return false };
    let mut is_open = false;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        is_open = part.is_empty();
    }
    rest.is_empty() || is_open
}

/// Lines without what differs from run to run, and without the width of columns.
fn lines(text: &str) -> Vec<String> {
    let varying = [
        (r"\d{8}-\d{6}(-\d+)?", "[run]"),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "[time]"),
        (r"\d+\.\d+ s\b", "[took]"),
        (r", up to \d+ at once", ", up to [n] at once"),
        (r"\b(frame_counter|timestamp_ms|t|pid) = \d+", "$1 = [n]"),
        (r"\b\d+ (digest|draws?|times?|screens?|processes|keypress|line_rendered)\b", "[n] $1"),
        (r"sha256:[0-9a-f…]+", "[hash]"),
        (r"[0-9]+(\.[0-9]+)? processes", "[n] processes"),
        (r"[ \t]+", " "),
    ];
    let plain = |line: &str| {
        let line = varying.iter().fold(line.to_owned(), |line, (pattern, stand_in)| {
            Regex::new(pattern).unwrap().replace_all(&line, *stand_in).into_owned()
        });
        line.trim().to_owned()
    };
    text.lines().map(plain).filter(|line| !line.is_empty()).collect()
}

#[test]
fn what_varies_and_what_is_left_out_may_differ_and_nothing_else() {
    let said = "1 scenario (logs/20261122-101500)\n  0.0 s  ready\n 12.1 s  went\nPASS a 3.0 s\n";
    same("1 scenario (logs/20200101-000000-2)\n 1.0 s  ready\n…\nPASS …\n", said).unwrap();
    same("…\nPASS a 1.0 s\n", said).unwrap();
    for wrong in
        ["…\nPASS b …\n", "1 scenario …\nPASS a 3.0 s\n", "…\nPASS a 3.0 s\nmore\n", "2 scenario …\n…\n"]
    {
        assert!(same(wrong, said).is_err(), "{wrong}");
    }
    contained("ready\n…\nPASS …", &said.replace("  0.0 s  ", "")).unwrap();
    assert!(contained("nowhere", said).is_err());
}
