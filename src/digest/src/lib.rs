//! The visual digest: what a guest shows of everything that happened to it, as a QR symbol on its screen.
//!
//! This package is the only home of the format (version 2): the guest encodes with it, the host decodes. It never
//! draws, waits, or looks at a clock; pixels and records are arguments. Without feature `host` it is `no_std` and
//! allocates nothing.
//!
//! Start reading at [`Record`] (what may happen), then [`encode`] (how it becomes a [`Payload`]) and
//! [`symbol::Symbol`] (how that becomes modules). [`Frame`] and [`framebuffer_hash`] are the pixels around it. With
//! `host`, [`decode()`] turns a payload into a [`Digest`] and `symbol::read` finds one at its place on a frame.
#![cfg_attr(not(any(feature = "host", test)), no_std)]

pub mod crc32c;
#[cfg(feature = "host")]
mod decode;
mod frame;
mod payload;
mod record;
pub mod symbol;

#[cfg(feature = "host")]
pub use decode::{DecodeError, Digest, EncodeError, HashBlockFault, RecordFault, UnknownRecord, decode};
pub use frame::{
    FOREGROUND, Frame, FrameError, HASHED_COLUMNS, MODULE_SIZE, QUIET_MODULES, REGION_SIZE, SYMBOL_MODULES,
    framebuffer_hash, hashed_spans, region_origin,
};
pub use payload::{MAX_PAYLOAD, MIN_PAYLOAD, Payload, encode};
pub use record::{Channel, ChannelHashes, Choice, EncodedRecord, Phase, Record};
