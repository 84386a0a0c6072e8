//! Lanes: plans without QEMU, and QEMU's life with it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "these are tests, also where they are helpers and async functions"
)]

mod agent;
mod argv;
mod attach;
mod console;
mod control;
mod kvm;
mod process;
mod profiles;
mod qmp;
mod screendump;
mod serial;
pub(crate) mod somebody;
mod support;
mod teardown;
