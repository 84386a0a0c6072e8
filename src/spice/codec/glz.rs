//! GLZ images: LZ with references into earlier images of the same dictionary.

use std::collections::BTreeMap;

use super::lz::{MAGIC, PixelType, VERSION, require, row_length, truncated_header};
use super::units::{Alpha, Input, Pass, Rgb, Rgb16, Unit};
use super::{CodecError, ImageLimits, Picture, flip};

/// The images that later ones may refer to. One per display channel, for as long as it is connected.
///
/// Every image of the channel must be decoded here, in order, whatever becomes of its draw.
#[derive(Debug)]
pub struct Dictionary {
    window_pixels: u64,
    pixels: u64,
    /// Pixels in storage order, four bytes each, by image id.
    images: BTreeMap<u64, Vec<u8>>,
}

/// The GLZ header, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    pixel_type: PixelType,
    is_top_down: bool,
    id: u64,
    /// How far back the oldest image lies that is still referred to.
    window_head_distance: u32,
}

impl Header {
    const LENGTH: usize = 33;
    const TOP_DOWN: u8 = 0x10;

    fn decode(data: &[u8], width: u32, height: u32) -> Result<Self, CodecError> {
        let Some((header, _)) = data.split_first_chunk::<{ Self::LENGTH }>() else {
            return Err(truncated_header(data, Self::LENGTH));
        };
        let word =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        require("GLZ magic", MAGIC.into(), word(0).into())?;
        require("GLZ version", VERSION.into(), word(4).into())?;
        let pixel_type = PixelType::from_wire((header[8] & 0x0f).into())?;
        require("GLZ width", width.into(), word(9).into())?;
        require("GLZ height", height.into(), word(13).into())?;
        Ok(Self {
            pixel_type,
            is_top_down: header[8] & Self::TOP_DOWN != 0,
            id: u64::from(word(21)) << 32 | u64::from(word(25)),
            window_head_distance: word(29),
        })
    }
}

/// Where a reference begins and how many units it spans.
enum Reference {
    /// In this image, so many units back.
    Own { length: usize, distance: usize },
    /// In the image that came `images` before, at this unit.
    Other { length: usize, images: u64, offset: usize },
}

impl Dictionary {
    /// An empty dictionary. A window of 0 pixels holds nothing: GLZ images are an error then.
    pub fn new(window_pixels: u64) -> Self {
        Self { window_pixels, pixels: 0, images: BTreeMap::new() }
    }

    /// Decodes a GLZ stream of an image of `width` by `height` pixels and keeps it for later ones.
    pub fn decode(
        &mut self,
        data: &[u8],
        width: u32,
        height: u32,
        limits: ImageLimits,
    ) -> Result<Picture, CodecError> {
        let pixels = limits.check(width, height)?;
        let header = Header::decode(data, width, height)?;
        if u64::try_from(pixels).unwrap_or(u64::MAX) > self.window_pixels {
            return Err(self.window_exceeded(pixels));
        }
        let mut input = Input::new(data, Header::LENGTH);
        let mut stored = vec![0; pixels * 4];
        let mut has_alpha = false;
        match header.pixel_type {
            PixelType::Rgb32 | PixelType::Rgb24 => {
                self.decode_pass::<Rgb>(&mut input, &mut stored, header.id)?
            }
            PixelType::Rgb16 => self.decode_pass::<Rgb16>(&mut input, &mut stored, header.id)?,
            PixelType::Rgba => {
                self.decode_pass::<Rgb>(&mut input, &mut stored, header.id)?;
                self.decode_pass::<Alpha>(&mut input, &mut stored, header.id)?;
                has_alpha = true;
            }
            _ => return Err(CodecError::ForeignPixelType { container: "GLZ_RGB" }),
        }
        let mut bytes = stored.clone();
        flip(&mut bytes, row_length(width), header.is_top_down);
        self.keep(&header, stored, pixels)?;
        Ok(Picture { width, height, has_alpha, bytes })
    }

    fn decode_pass<U: Unit>(&self, input: &mut Input<'_>, out: &mut [u8], id: u64) -> Result<(), CodecError> {
        let mut pass = Pass::new::<U>(out);
        while !pass.is_complete() {
            let Some(control) = input.byte() else { return Err(pass.truncated(input)) };
            if control < 32 {
                pass.literals::<U>(input, control + 1)?;
                continue;
            }
            match reference(input, control) {
                None => return Err(pass.truncated(input)),
                Some(Reference::Own { length, distance }) => {
                    pass.repeat::<U>(length + U::LENGTH_BIAS, distance)?;
                }
                Some(Reference::Other { length, images, offset }) => {
                    let length = length + U::LENGTH_BIAS;
                    pass.copy_from::<U>(self.units(id, images, offset, length)?)?;
                }
            }
        }
        Ok(())
    }

    /// The bytes of `length` pixels of the image `distance` before image `id`.
    fn units(&self, id: u64, distance: u64, offset: usize, length: usize) -> Result<&[u8], CodecError> {
        let image =
            id.checked_sub(distance).and_then(|id| self.images.get(&id)).map_or(&[][..], Vec::as_slice);
        let end = offset.checked_add(length).and_then(|end| end.checked_mul(4));
        let range = end.and_then(|end| image.get(offset * 4..end));
        let available = image.len() / 4;
        range.ok_or(CodecError::BadImageReference { id, distance, offset, length, available })
    }

    /// Adds an image and drops those that nothing will refer to any more.
    fn keep(&mut self, header: &Header, stored: Vec<u8>, pixels: usize) -> Result<(), CodecError> {
        let added = u64::try_from(pixels).unwrap_or(u64::MAX);
        if let Some(old) = self.images.insert(header.id, stored) {
            self.pixels -= pixel_count(&old);
        }
        self.pixels += added;
        let oldest = header.id.saturating_sub(header.window_head_distance.into());
        while let Some(entry) = self.images.first_entry().filter(|entry| *entry.key() < oldest) {
            self.pixels -= pixel_count(&entry.remove());
        }
        // The server counts before it adds, so the newest image may come on top.
        if self.pixels - added > self.window_pixels {
            return Err(self.window_exceeded(0));
        }
        Ok(())
    }

    fn window_exceeded(&self, more: usize) -> CodecError {
        let pixels = self.pixels.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        CodecError::WindowExceeded { pixels, window: self.window_pixels }
    }
}

fn pixel_count(stored: &[u8]) -> u64 {
    u64::try_from(stored.len() / 4).unwrap_or(u64::MAX)
}

/// The reference that `control` begins. Lengths are without bias.
fn reference(input: &mut Input<'_>, control: usize) -> Option<Reference> {
    let length = input.extended_length(control >> 5)?;
    let is_long = control & 0x10 != 0;
    let mut offset = control & 0x0f | input.byte()? << 4;
    let second = input.byte()?;
    let image_bytes = second >> 6;
    let mut images = if is_long { 0 } else { second & 0x3f };
    let first_shift = if is_long { 0 } else { 6 };
    if is_long {
        offset |= (second & 0x1f) << 12;
    }
    for index in 0..image_bytes {
        images |= input.byte()? << (first_shift + 8 * index);
    }
    if is_long && second & 0x20 != 0 {
        offset |= input.byte()? << 17;
    }
    Some(match u64::try_from(images) {
        Ok(0) => Reference::Own { length, distance: offset + 1 },
        Ok(images) => Reference::Other { length, images, offset },
        Err(_) => return None,
    })
}
