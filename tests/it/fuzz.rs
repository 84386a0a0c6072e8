//! Replays what the fuzzers found: the corpus of every target, and every input that one ever failed on.

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use backstaff::fuzzing::{TARGETS, run};

#[test]
fn every_input_of_the_corpus_is_handled() {
    for (name, _) in TARGETS {
        let inputs = files(&corpus().join(name));
        assert!(!inputs.is_empty(), "fixtures/fuzz/{name} has no inputs");
        replay(name, &inputs);
    }
}

#[test]
fn what_once_failed_is_handled() {
    for (name, _) in TARGETS {
        replay(name, &files(&regressions().join(name)));
    }
}

/// An input cut short anywhere is what a connection that ends leaves behind.
#[test]
fn every_input_of_the_corpus_may_end_early() {
    for (name, _) in TARGETS {
        for input in files(&corpus().join(name)) {
            let bytes = std::fs::read(&input).unwrap();
            let ends = (0..bytes.len()).step_by(1 + bytes.len() / 16);
            for end in ends {
                let outcome = catch_unwind(|| run(name, &bytes[..end]));
                assert!(outcome.is_ok(), "{name}: {} cut to {end} bytes", input.display());
            }
        }
    }
}

#[test]
fn every_target_has_a_fuzzer_and_every_folder_a_target() {
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(known.len(), TARGETS.len(), "two targets have the same name");
    assert!(TARGETS.is_sorted_by_key(|(name, _)| *name), "targets are in the order of their names");
    let fuzzers = names(&root().join("tests/fuzz/targets"));
    let wanted: BTreeSet<String> = known.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(fuzzers, wanted, "tests/fuzz/targets");
    let manifest = std::fs::read_to_string(root().join("tests/fuzz/Cargo.toml")).unwrap();
    for name in &known {
        let fuzzer = std::fs::read_to_string(root().join(format!("tests/fuzz/targets/{name}.rs"))).unwrap();
        assert!(fuzzer.contains(&format!("run(\"{name}\", data)")), "tests/fuzz/targets/{name}.rs");
        assert!(
            manifest.contains(&format!("path = \"targets/{name}.rs\"")),
            "{name} in tests/fuzz/Cargo.toml"
        );
    }
    let mut folders = names(&corpus());
    assert!(folders.remove("regressions") && folders.remove("README.md"));
    assert_eq!(folders, known, "fixtures/fuzz");
    let strays: Vec<_> = names(&regressions()).into_iter().filter(|name| !known.contains(name)).collect();
    assert!(strays.is_empty(), "fixtures/fuzz/regressions has {strays:?}, which are no targets");
}

fn replay(name: &str, inputs: &[PathBuf]) {
    for input in inputs {
        let bytes = std::fs::read(input).unwrap();
        let outcome = catch_unwind(|| run(name, &bytes));
        assert!(outcome.is_ok(), "{name} fails on {}", input.display());
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn corpus() -> PathBuf {
    root().join("fixtures/fuzz")
}

fn regressions() -> PathBuf {
    corpus().join("regressions")
}

/// The files of a folder in the order of their names; none where there is no folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    names(folder).into_iter().map(|name| folder.join(name)).collect()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
