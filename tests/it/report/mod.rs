//! Integration tests of `backstaff::report`.
pub(crate) mod browser;
mod flakes;
mod formats;
mod hostile;
mod html;
mod made;
mod merge;
pub(crate) mod sample;
mod why;
