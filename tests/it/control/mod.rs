//! Integration tests of `backstaff::control`.
mod conformance;
mod flood;
pub(crate) mod own;
mod page;
mod transcript;

use crate::lane::load as typing;
