//! One running machine and its endpoints: from a profile to a plan, a process, its wires, and its end.
//!
//! A lane never judges and never runs a scenario; it reports facts through return values and channels, and
//! layers above turn them into journal events. It knows no Lua.
//!
//! Start reading at [`profile`] (what the user writes), then [`mod@plan`] (what it comes to on this platform).
//! [`profile`], [`fault`], [`platform`], [`firmware`], [`mod@plan`], [`attach_settings`] and the argv rendering are pure: no files,
//! no clock, no processes. The side effects live in [`inspect`], [`platform_detect`] and [`kvm`] (what this host can do),
//! [`contents`] (what is in files), [`doctor`] (the same for people, with what is missing and what to do about it),
//! [`process`] (QEMU's life),
//! [`qmp`] (its control wire), [`serial`] (its log wire) and [`teardown`] (its end). [`bringup`] makes one lane of
//! them and a console, [`attach`] makes one of a machine that is somebody else's, [`sim`] one of the guest in this process,
//! and [`handle`] is what scenarios get to hold.

mod argv;
pub mod attach;
mod attach_console;
pub mod attach_error;
pub mod attach_settings;
pub mod bringup;
pub mod contents;
pub mod control;
pub mod doctor;
pub mod error;
pub mod fault;
pub mod firmware;
mod firmware_find;
#[doc(hidden)]
pub mod fuzzing;
pub mod handle;
pub mod inspect;
pub mod join;
pub mod kvm;
mod kvm_probe;
pub mod offers;
pub mod plan;
pub mod plan_document;
mod plan_error;
pub mod plan_sim;
pub mod platform;
pub mod platform_detect;
pub mod prepare;
pub mod process;
pub mod profile;
mod profile_canonical;
mod profile_chain;
mod profile_error;
mod profile_parse;
mod qcow2;
pub mod qmp;
mod readable;
mod readiness;
pub mod serial;
mod serial_lines;
mod sha256;
pub mod sim;
pub mod snapshot;
pub mod speed;
pub mod standstill;
mod supervise;
pub mod teardown;
pub mod unix_socket;
pub mod warm;

pub use attach::AttachedLane;
pub use attach_error::AttachError;
pub use attach_settings::{AttachEnvironment, AttachSettings};
pub use bringup::Lane;
pub use error::{LaneError, Responsible};
pub use plan::{Plan, plan};
pub use platform::Platform;
pub use profile::Profile;
pub use sim::SimLane;
