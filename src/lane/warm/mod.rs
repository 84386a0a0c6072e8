//! Lanes that were saved at their ready point, so that a scenario starts from a restore instead of a boot.
//!
//! [`key`] says which saved machine fits a plan, [`store`] keeps saved machines below the artifacts, [`migrate`]
//! carries a machine's memory through a file descriptor, and [`seen`] is what the oracles saw of a machine: what a
//! restored one is compared with. [`save`] and [`restore`] are the two directions.

pub mod key;
pub mod migrate;
pub(super) mod restore;
pub mod save;
pub mod seen;
pub mod store;

pub use key::WarmKey;
pub use save::SaveError;
pub use seen::Seen;
pub use store::{SavedMachine, Staging, StoreError, WarmStore};

/// Whether scenarios start from saved machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WarmMode {
    /// Where a lane can be saved, and as soon as it was (default).
    #[default]
    Auto,
    /// Never; nothing is saved either.
    Off,
    /// As `Auto`, and each restored lane is compared with one that was booted.
    Verify,
}
