//! The pixels: surfaces, the drawing that changes them, and the caches that feed the drawing.
//!
//! INVARIANT: pure, and bounded by [`Limits`](super::Limits) whatever a server asks for. A draw decodes
//! its images first and unconditionally, because decoding feeds the caches even when nothing is visible.
//!
//! [`Surface`] is what readers see; [`Canvas`] holds them all and takes the drawing messages: those that copy and
//! fill in `canvas`, the others in `draws`, video in `stream`. `paint` is where pixels change; what it changes them to
//! comes from `rop` (bitwise), `blend` (alpha), `sample` (stretched pictures), `composite`, `stroke` and `text`. The pointer's shapes ([`CursorShape`]) never reach a surface.

mod blend;
mod cache;
mod canvas;
mod composite;
mod cursor;
mod draws;
mod error;
mod format;
mod paint;
mod pixels;
mod region;
mod rop;
mod sample;
mod stream;
mod stroke;
mod text;

pub use canvas::{Canvas, CanvasOptions, Outcome};
pub use cursor::CursorShape;
pub use error::DrawError;
pub use pixels::Surface;

#[cfg(test)]
mod draw_tests;
#[cfg(test)]
mod tests;
