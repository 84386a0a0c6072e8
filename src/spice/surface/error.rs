//! Why a drawing message cannot be drawn.

use thiserror::Error;

use crate::spice::codec::CodecError;
use crate::spice::wire::types::{Rect, RopDescriptor};

/// Why a message cannot be drawn. The channel cannot go on: what follows may depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DrawError {
    /// An image does not decode.
    #[error("image {id:#x} ({kind})")]
    Image {
        /// The image's id.
        id: u64,
        /// SPICE's name of its type.
        kind: &'static str,
        /// What is wrong with it.
        source: CodecError,
    },
    /// The server refers to an image that is not in the cache.
    #[error("image {id:#x} is not in the cache")]
    ImageMissing {
        /// The image's id.
        id: u64,
    },
    /// The server refers to a palette that is not in the cache.
    #[error("palette {id:#x} is not in the cache")]
    PaletteMissing {
        /// The palette's id.
        id: u64,
    },
    /// The server refers to a surface that does not exist.
    #[error("surface {id} is the source of an image but does not exist")]
    SurfaceMissing {
        /// The surface's id.
        id: u32,
    },
    /// The descriptor of an image and its data disagree about the size.
    #[error("image {id:#x} is {got:?}, its descriptor says {wanted:?}")]
    SizeMismatch {
        /// The image's id.
        id: u64,
        /// Width and height of the descriptor.
        wanted: (u32, u32),
        /// Width and height of the data.
        got: (u32, u32),
    },
    /// A draw takes pixels from outside its source.
    #[error("source area {area:?} leaves the image of {width} x {height} pixels")]
    SourceArea {
        /// The area.
        area: Rect,
        /// Width of the image.
        width: u32,
        /// Height of the image.
        height: u32,
    },
    /// A surface of a format that SPICE does not define.
    #[error("surface {id} has format {format}, wanted 1, 8, 16, 32, 80 or 96")]
    SurfaceFormat {
        /// The surface's id.
        id: u32,
        /// The number found.
        format: u32,
    },
    /// A compositing operator, filter or repeat that SPICE does not define.
    #[error("{what} {got} is unknown, the last is {last}")]
    Unknown {
        /// What it would select.
        what: &'static str,
        /// The number found.
        got: u32,
        /// The largest number defined.
        last: u32,
    },
    /// A stream of a kind that the server was told not to send.
    #[error("stream {id} is {codec}, only MJPEG is decoded here")]
    StreamCodec {
        /// The stream's id.
        id: u32,
        /// Name or number of the codec.
        codec: &'static str,
    },
    /// A stream that cannot be, or a frame of one that does not decode.
    #[error("stream {id}")]
    Stream {
        /// The stream's id.
        id: u32,
        /// What is wrong with it.
        source: CodecError,
    },
    /// A raster operation without an operation.
    #[error("raster operation {0:?} names no operation")]
    Rop(RopDescriptor),
    /// Something grew beyond its limit.
    #[error("{what} would be {got}, limit is {limit}")]
    Limit {
        /// What would be too large.
        what: &'static str,
        /// How large.
        got: u64,
        /// The limit.
        limit: u64,
    },
}
