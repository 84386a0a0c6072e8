//! Integration tests of `backstaff::cli`.
mod digest;
pub(crate) mod lab;
mod lanes;
mod rom;
mod signals;
mod terminal;
mod usage;
