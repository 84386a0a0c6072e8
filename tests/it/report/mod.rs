//! Integration tests of `backstaff::report`.
pub(crate) mod browser;
mod html;
pub(crate) mod sample;
mod why;
