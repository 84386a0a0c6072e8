//! Lanes that were saved at their ready point, so that a scenario starts from a restore instead of a boot.

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
