//! The pixels: surfaces, the drawing that changes them, and the caches that feed the drawing.
//!
//! INVARIANT: pure, and bounded by [`Limits`](super::Limits) whatever a server asks for. A draw decodes
//! its images first and unconditionally, because decoding feeds the caches even when nothing is visible.
//!
//! [`Surface`] is what readers see; [`Canvas`] holds them all and takes the drawing messages.

mod cache;
mod canvas;
mod paint;
mod pixels;
mod region;
mod rop;

pub use canvas::{Canvas, CanvasOptions, DrawError, Outcome};
pub use pixels::Surface;

#[cfg(test)]
mod tests;
