//! The digest on a screen, read by others than ourselves.
mod readers;
pub(crate) mod screen;
