//! Lanes: plans without QEMU, and QEMU's life with it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "these are tests, also where they are helpers and async functions"
)]

pub(crate) mod agent;
mod argv;
mod attach;
mod console;
mod control;
mod foreign;
mod kvm;
pub(crate) mod load;
mod process;
mod profiles;
mod qmp;
pub(crate) mod screendump;
mod serial;
pub(crate) mod somebody;
mod support;
mod teardown;
