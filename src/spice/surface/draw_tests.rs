//! The drawing messages beyond copying and filling, pixel by pixel.
