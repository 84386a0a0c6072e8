//! Integration tests of `backstaff::cli`.
mod check;
mod control;
mod digest;
mod doctor;
mod exit_codes;
pub(crate) mod lab;
mod lanes;
mod plan;
mod replay;
pub(crate) mod rom;
mod script;
mod serve;
mod signals;
mod terminal;
mod up;
mod usage;
