//! LZ images: literals and references within one image.

use super::units::{Alpha, Byte, Input, Pass, Rgb, Rgb16, Unit};
use super::{CodecError, ImageLimits, IndexLayout, Picture, flip};

/// First bytes of every LZ and GLZ stream.
pub(super) const MAGIC: u32 = 0x2020_5a4c;
/// The version of both.
pub(super) const VERSION: u32 = 0x0001_0001;

/// The pixel type in LZ and GLZ headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PixelType {
    Plt1Le,
    Plt1Be,
    Plt4Le,
    Plt4Be,
    Plt8,
    Rgb16,
    Rgb24,
    Rgb32,
    Rgba,
    Xxxa,
    A8,
}

impl PixelType {
    pub(super) fn from_wire(value: u32) -> Result<Self, CodecError> {
        Ok(match value {
            1 => Self::Plt1Le,
            2 => Self::Plt1Be,
            3 => Self::Plt4Le,
            4 => Self::Plt4Be,
            5 => Self::Plt8,
            6 => Self::Rgb16,
            7 => Self::Rgb24,
            8 => Self::Rgb32,
            9 => Self::Rgba,
            10 => Self::Xxxa,
            11 => Self::A8,
            other => {
                return Err(CodecError::Mismatch { what: "LZ pixel type", wanted: 8, got: other.into() });
            }
        })
    }

    fn index_layout(self) -> Option<IndexLayout> {
        match self {
            Self::Plt1Le => Some(IndexLayout::BIT_LE),
            Self::Plt1Be => Some(IndexLayout::BIT_BE),
            Self::Plt4Le => Some(IndexLayout::NIBBLE_LE),
            Self::Plt4Be => Some(IndexLayout::NIBBLE_BE),
            Self::Plt8 => Some(IndexLayout::BYTE),
            _ => None,
        }
    }

    /// Bytes of a row before compression.
    fn row_bytes(self, width: u32) -> u64 {
        let width = u64::from(width);
        match self {
            Self::Rgb16 => width * 2,
            Self::Rgb24 => width * 3,
            Self::Rgb32 | Self::Rgba | Self::Xxxa => width * 4,
            Self::A8 => width,
            Self::Plt1Le | Self::Plt1Be => width.div_ceil(8),
            Self::Plt4Le | Self::Plt4Be => width.div_ceil(2),
            Self::Plt8 => width,
        }
    }
}

/// The LZ header. Unlike everything around it, it is big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    pixel_type: PixelType,
    width: u32,
    height: u32,
    is_top_down: bool,
}

impl Header {
    const LENGTH: usize = 28;

    fn decode(data: &[u8], width: u32, height: u32) -> Result<Self, CodecError> {
        let mut words =
            data.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
        let mut word = || words.next().ok_or(truncated_header(data, Self::LENGTH));
        require("LZ magic", MAGIC.into(), word()?.into())?;
        require("LZ version", VERSION.into(), word()?.into())?;
        let pixel_type = PixelType::from_wire(word()?)?;
        require("LZ width", width.into(), word()?.into())?;
        require("LZ height", height.into(), word()?.into())?;
        require("LZ stride", pixel_type.row_bytes(width), word()?.into())?;
        let is_top_down = word()? != 0;
        Ok(Self { pixel_type, width, height, is_top_down })
    }
}

/// Which image type the stream is in; each carries its own pixel types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container<'p> {
    /// LZ_RGB.
    Rgb,
    /// LZ_PLT with its palette.
    Plt(&'p [u32]),
}

/// Decodes an LZ stream of an image of `width` by `height` pixels.
pub fn decode(
    data: &[u8],
    container: Container<'_>,
    width: u32,
    height: u32,
    limits: ImageLimits,
) -> Result<Picture, CodecError> {
    let pixels = limits.check(width, height)?;
    let header = Header::decode(data, width, height)?;
    let mut input = Input::new(data, Header::LENGTH);
    if let Container::Plt(palette) = container {
        let Some(layout) = header.pixel_type.index_layout() else { return Err(foreign_type("LZ_PLT")) };
        return decode_indexed(&mut input, &header, layout, palette, pixels);
    }
    let mut bytes = vec![0; pixels * 4];
    let mut has_alpha = false;
    match header.pixel_type {
        PixelType::Rgb32 | PixelType::Rgb24 => decode_pass::<Rgb>(&mut input, &mut bytes)?,
        PixelType::Rgb16 => decode_pass::<Rgb16>(&mut input, &mut bytes)?,
        PixelType::Rgba => {
            decode_pass::<Rgb>(&mut input, &mut bytes)?;
            decode_pass::<Alpha>(&mut input, &mut bytes)?;
            has_alpha = true;
        }
        PixelType::A8 => return Err(CodecError::Unsupported { codec: "8-bit alpha" }),
        _ => return Err(foreign_type("LZ_RGB")),
    }
    flip(&mut bytes, row_length(header.width), header.is_top_down);
    Ok(Picture { width, height, has_alpha, bytes })
}

fn decode_indexed(
    input: &mut Input<'_>,
    header: &Header,
    layout: IndexLayout,
    palette: &[u32],
    pixels: usize,
) -> Result<Picture, CodecError> {
    let (width, height) = (header.width, header.height);
    let stride = usize::try_from(layout.row_bytes(width)).unwrap_or(usize::MAX);
    // No more than the pixels, which are within the limits.
    let mut indices = vec![0; stride * usize::try_from(height).unwrap_or(usize::MAX)];
    decode_pass::<Byte>(input, &mut indices)?;
    let mut bytes = vec![0; pixels * 4];
    for (row, out) in indices.chunks_exact(stride).zip(bytes.chunks_exact_mut(row_length(width))) {
        layout.expand(row, palette, out)?;
    }
    flip(&mut bytes, row_length(width), header.is_top_down);
    Ok(Picture { width, height, has_alpha: false, bytes })
}

/// One pass: a control byte below 32 announces literals, any other a reference.
fn decode_pass<U: Unit>(input: &mut Input<'_>, out: &mut [u8]) -> Result<(), CodecError> {
    let mut pass = Pass::new::<U>(out);
    while !pass.is_complete() {
        let Some(control) = input.byte() else { return Err(pass.truncated(input)) };
        if control < 32 {
            pass.literals::<U>(input, control + 1)?;
            continue;
        }
        let Some((length, distance)) = reference(input, control) else { return Err(pass.truncated(input)) };
        pass.repeat::<U>(length + U::LENGTH_BIAS, distance)?;
    }
    Ok(())
}

/// Length without bias, and distance, of the reference that `control` begins.
fn reference(input: &mut Input<'_>, control: usize) -> Option<(usize, usize)> {
    /// What one control and one offset byte reach; beyond it two more bytes follow.
    const NEAR: usize = 8191;
    let length = input.extended_length(control >> 5)?;
    let near = (control & 31) << 8 | input.byte()?;
    let offset = if near == NEAR { (input.byte()? << 8 | input.byte()?) + NEAR } else { near };
    Some((length, offset + 1))
}

pub(super) fn require(what: &'static str, wanted: u64, got: u64) -> Result<(), CodecError> {
    if wanted == got { Ok(()) } else { Err(CodecError::Mismatch { what, wanted, got }) }
}

pub(super) fn truncated_header(data: &[u8], wanted: usize) -> CodecError {
    CodecError::Truncated { offset: data.len(), produced: 0, wanted }
}

/// Bytes of a decoded row; the width is within the limits.
pub(super) fn row_length(width: u32) -> usize {
    usize::try_from(width).unwrap_or(usize::MAX).saturating_mul(4)
}

fn foreign_type(container: &'static str) -> CodecError {
    CodecError::ForeignPixelType { container }
}
