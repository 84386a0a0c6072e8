//! How much a server may ask of this side.

use super::codec::ImageLimits;

/// Bounds on memory that a server controls. The defaults leave room for several 4K screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message body.
    pub message_bytes: u32,
    /// Size of one image or surface.
    pub images: ImageLimits,
    /// Surfaces of one channel.
    pub surfaces: u64,
    /// Bytes of all surfaces of one channel.
    pub surface_bytes: u64,
    /// Pixels of a channel's image cache, told to the server. At most 2^31.
    pub image_cache_pixels: u32,
    /// Pixels of a channel's GLZ dictionary, told to the server. At most 2^25.
    pub glz_window_pixels: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 20,
            images: ImageLimits { side: 16_384, pixels: 64 << 20 },
            surfaces: 1024,
            surface_bytes: 512 << 20,
            image_cache_pixels: 20 << 20,
            glz_window_pixels: 16 << 20,
        }
    }
}
