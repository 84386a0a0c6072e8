//! Integration tests of `backstaff::control`.
mod flood;

use crate::lane::load as typing;
