//! Whether a restored machine is the one that was saved, and alive.

use std::time::Duration;

use super::seen::looks_like;
use super::store::SavedMachine;
use crate::console::{Console, Screenshot};
use crate::journal::{Body, Cursor, Event, Journal, Source};

/// Waits until the machine goes on: its digest has advanced beyond the saved one on the right screen, or, where it shows
/// no digest, its screen is the saved one. Has no deadline of its own.
pub(in crate::lane) async fn goes_on(
    saved: &SavedMachine,
    journal: &Journal,
    console: Option<&dyn Console>,
) -> Result<(), String> {
    if let Some(digest) = &saved.seen().digest {
        let since = digest.frame_counter;
        let mut cursor = Cursor::default();
        let advances = |event: &Event| match &event.body {
            Body::DigestUpdated { digest, framebuffer, .. } => {
                digest.frame_counter > since && framebuffer == "matches"
            }
            Body::DigestFramebuffer { frame_counter, framebuffer } => {
                *frame_counter > since && framebuffer == "matches"
            }
            _ => false,
        };
        journal.next_match(Source::Digest, &mut cursor, advances).await;
        return Ok(());
    }
    let (Some(console), Some(png)) = (console, saved.screen()) else { return Ok(()) };
    let wanted = Screenshot::from_png(png).map_err(|error| format!("the saved screen: {error}"))?;
    let mut newest = journal.watch();
    loop {
        if Screenshot::take(console).is_some_and(|shot| looks_like(&shot, &wanted)) {
            return Ok(());
        }
        let _ = tokio::time::timeout(LOOK_AGAIN, newest.changed()).await;
    }
}

/// Draws are noted in the journal a little later than they are seen.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
