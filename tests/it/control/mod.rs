//! Integration tests of `backstaff::control`.
mod conformance;
