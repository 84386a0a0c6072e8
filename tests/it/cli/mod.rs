//! Integration tests of `backstaff::cli`.
mod digest;
