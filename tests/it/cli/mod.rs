//! Integration tests of `backstaff::cli`.
mod digest;
pub(crate) mod lab;
pub(crate) mod rom;
mod signals;
mod terminal;
mod usage;
