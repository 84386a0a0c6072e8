//! One machine.
pub mod handle;
