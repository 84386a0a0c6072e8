//! Benchmarks of what a scenario's author feels: how soon a wait sees the screen, and what a call costs.
//!
//! `cargo bench` runs every section that needs no machine; `cargo bench --bench bench -- NAME…` runs the ones named.
//! `lane`, `canonical` and `restore` boot a machine, `runner`, `load`, `events` and `prompt` take half a minute and more; they
//! run only when they are named. `docs/benchmarks.md` says what each line
//! means. Run by `cargo test` it takes a handful of samples, which shows that it still works and nothing else.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

mod calls;
mod canonical;
mod codecs;
mod digest;
mod events;
#[path = "../it/control/flood.rs"]
mod flood;
mod journal;
mod lane;
mod latency;
mod load;
mod measure;
mod pixels;
mod prompt;
#[path = "../it/spice/qemu.rs"]
#[expect(dead_code, reason = "the tests do more with a machine")]
mod qemu;
mod recordings;
mod restore;
mod runner;
#[path = "../it/digest/screen.rs"]
mod screen;
mod stage;
#[path = "../it/lane/load.rs"]
mod typing;

use measure::Report;

/// A section's name, whether it runs unasked, and what it does.
type Section = (&'static str, bool, fn(&mut Report));

const SECTIONS: [Section; 15] = [
    ("latency", true, latency::run),
    ("digest", true, digest::run),
    ("calls", true, calls::calls),
    ("state", true, calls::states),
    ("journal", true, journal::run),
    ("pixels", true, pixels::run),
    ("codecs", true, codecs::run),
    ("recordings", true, recordings::run),
    ("runner", false, runner::run),
    ("lane", false, lane::run),
    ("canonical", false, canonical::run),
    ("restore", false, restore::run),
    ("load", false, load::run),
    ("events", false, events::run),
    ("prompt", false, prompt::run),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|argument| argument == prompt::CHILD) {
        return prompt::child(arguments[at + 1].parse().unwrap());
    }
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let mut report = Report::new(is_bench);
    for (name, unasked, run) in SECTIONS {
        if wanted.iter().any(|wanted| *wanted == name) || (unasked && wanted.is_empty()) {
            report.section(name);
            run(&mut report);
        }
    }
}
