//! The way to the guest's agent: clipboards both ways, monitors.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub use crate::spice::{
    AgentError, AgentEvent, AgentState, ClipboardKind, NotFetched, Selection, capability_names,
};

/// Which data it is: `sha256:<hex>` of it.
pub fn hash(data: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(data))
}

/// A guest's agent, seen from outside. Nothing here waits: what comes of it is told by events.
pub trait GuestAgent: Send + Sync {
    /// What is known of it.
    fn state(&self) -> AgentState;

    /// Offers text to the guest, which gets it when it asks for it.
    ///
    /// # Errors
    /// There is no agent, or none that takes it.
    fn copy(&self, selection: Selection, text: &str) -> Result<(), AgentError>;

    /// Asks for the text that the guest offers: [`AgentEvent::Fetched`] tells what came of it.
    ///
    /// # Errors
    /// There is no agent, or it offers no text.
    fn fetch(&self, selection: Selection) -> Result<(), AgentError>;

    /// The text that was fetched last.
    fn fetched(&self, selection: Selection) -> Option<Arc<[u8]>>;

    /// Asks for one monitor of this size.
    ///
    /// # Errors
    /// There is no agent.
    fn resize(&self, width: u32, height: u32) -> Result<(), AgentError>;
}
