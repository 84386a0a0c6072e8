//! Integration tests of `backstaff::report`.
mod flakes;
mod formats;
mod hostile;
mod merge;
mod sample;
