//! Descriptors whose readiness the runtime watches.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the runtime watch `fd` for something to read. Must be called within a Tokio runtime.
#[expect(
    deprecated,
    reason = "the successor is an unsafe function which asks that the descriptor stay open and the same; an \
              `OwnedFd` that was moved in keeps that by its type, so the safe constructor loses nothing here"
)]
pub(super) fn watch_readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}
