//! The integration tests; folders mirror `src/`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod architecture;
mod cli;
mod console;
mod control;
mod digest;
mod docs;
mod fuzz;
mod guest;
mod journal;
mod lane;
mod oracle;
mod repl;
mod report;
mod runner;
mod script;
mod spice;
