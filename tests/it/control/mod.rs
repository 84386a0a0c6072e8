//! Integration tests of `backstaff::control`.
mod conformance;
pub(crate) mod own;
mod page;
mod transcript;
