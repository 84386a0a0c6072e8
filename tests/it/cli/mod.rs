//! Integration tests of `backstaff::cli`.
mod digest;
pub(crate) mod lab;
mod rom;
mod signals;
mod terminal;
mod usage;
