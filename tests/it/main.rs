//! The integration tests; folders mirror `src/`.
mod cli;
mod console;
mod digest;
mod guest;
mod journal;
mod lane;
mod oracle;
mod runner;
mod script;
mod spice;
