//! SpiceImage: the descriptor every image starts with and the data of each image type, still encoded.

use super::bytes::{Counted, Field, Pointer, Reader, WireError, Writer, fields};
use super::types::Palette;

fields! {
    /// SpiceImageDescriptor.
    #[derive(Copy)]
    ImageDescriptor {
        /// Key in the image cache.
        id: u64,
        /// Which of [`ImageData`] follows.
        kind: u8,
        /// See the constants.
        flags: u8,
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
    }
}

impl ImageDescriptor {
    /// Store the decoded image under its id.
    pub const CACHE_ME: u8 = 1;
    /// Force the fourth byte of each pixel to 0xff.
    pub const HIGH_BITS_SET: u8 = 2;
    /// Replace the pixels stored under the id.
    pub const CACHE_REPLACE_ME: u8 = 4;
}

/// SpiceImage. The variant of `data` and `descriptor.kind` agree in a decoded value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image<'a> {
    /// Identity, flags and size.
    pub descriptor: ImageDescriptor,
    /// What the pixels are made from.
    pub data: ImageData<'a>,
}

/// The data of each image type. Compressed data stays as it is; see `spice::codec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageData<'a> {
    /// Type 0: raw pixels.
    Bitmap(Bitmap<'a>),
    /// Type 1.
    Quic(Counted<'a>),
    /// Type 100.
    LzPlt(LzPlt<'a>),
    /// Type 101.
    LzRgb(Counted<'a>),
    /// Type 102.
    GlzRgb(Counted<'a>),
    /// Type 103: the image cache has it.
    FromCache,
    /// Type 104: the pixels of another surface.
    Surface(u32),
    /// Type 105.
    Jpeg(Counted<'a>),
    /// Type 106: the image cache has it, and its pixels must not come from a lossy image.
    FromCacheLossless,
    /// Type 107.
    ZlibGlzRgb(ZlibGlzRgb<'a>),
    /// Type 108.
    JpegAlpha(JpegAlpha<'a>),
    /// Type 109.
    Lz4(Counted<'a>),
}

impl ImageData<'_> {
    /// SPICE's type number and its name.
    pub fn kind(&self) -> (u8, &'static str) {
        match self {
            Self::Bitmap(_) => (0, "BITMAP"),
            Self::Quic(_) => (1, "QUIC"),
            Self::LzPlt(_) => (100, "LZ_PLT"),
            Self::LzRgb(_) => (101, "LZ_RGB"),
            Self::GlzRgb(_) => (102, "GLZ_RGB"),
            Self::FromCache => (103, "FROM_CACHE"),
            Self::Surface(_) => (104, "SURFACE"),
            Self::Jpeg(_) => (105, "JPEG"),
            Self::FromCacheLossless => (106, "FROM_CACHE_LOSSLESS"),
            Self::ZlibGlzRgb(_) => (107, "ZLIB_GLZ_RGB"),
            Self::JpegAlpha(_) => (108, "JPEG_ALPHA"),
            Self::Lz4(_) => (109, "LZ4"),
        }
    }
}

impl<'a> Field<'a> for Image<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let descriptor = ImageDescriptor::decode(reader)?;
        let data = match descriptor.kind {
            0 => ImageData::Bitmap(Field::decode(reader)?),
            1 => ImageData::Quic(Field::decode(reader)?),
            100 => ImageData::LzPlt(Field::decode(reader)?),
            101 => ImageData::LzRgb(Field::decode(reader)?),
            102 => ImageData::GlzRgb(Field::decode(reader)?),
            103 => ImageData::FromCache,
            104 => ImageData::Surface(Field::decode(reader)?),
            105 => ImageData::Jpeg(Field::decode(reader)?),
            106 => ImageData::FromCacheLossless,
            107 => ImageData::ZlibGlzRgb(Field::decode(reader)?),
            108 => ImageData::JpegAlpha(Field::decode(reader)?),
            109 => ImageData::Lz4(Field::decode(reader)?),
            kind => {
                let (got, offset) = (kind.into(), reader.offset());
                return Err(WireError::UnknownValue { what: "image type", got, offset });
            }
        };
        Ok(Self { descriptor, data })
    }
    fn encode(&self, writer: &mut Writer) {
        self.descriptor.encode(writer);
        match &self.data {
            ImageData::Bitmap(bitmap) => bitmap.encode(writer),
            ImageData::LzPlt(image) => image.encode(writer),
            ImageData::Quic(data)
            | ImageData::LzRgb(data)
            | ImageData::GlzRgb(data)
            | ImageData::Jpeg(data)
            | ImageData::Lz4(data) => data.encode(writer),
            ImageData::FromCache | ImageData::FromCacheLossless => {}
            ImageData::Surface(id) => id.encode(writer),
            ImageData::ZlibGlzRgb(image) => image.encode(writer),
            ImageData::JpegAlpha(image) => image.encode(writer),
        }
    }
}

/// Where the colours of an indexed image come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaletteSource {
    /// Nowhere: the format carries colours itself.
    None,
    /// The palette cache, under this key.
    Cached(u64),
    /// The message.
    Inline(Palette),
}

impl PaletteSource {
    fn decode(flags: u8, reader: &mut Reader<'_>) -> Result<Self, WireError> {
        if flags & Bitmap::PAL_FROM_CACHE != 0 {
            return u64::decode(reader).map(Self::Cached);
        }
        Ok(match Option::<Pointer<Palette>>::decode(reader)? {
            Some(Pointer(palette)) => Self::Inline(palette),
            None => Self::None,
        })
    }

    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::None => 0_u32.encode(writer),
            Self::Cached(id) => id.encode(writer),
            Self::Inline(palette) => writer.pointer(|target| palette.encode(target)),
        }
    }
}

/// SpiceBitmap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap<'a> {
    /// 1 to 10; see `spice::codec::bitmap`.
    pub format: u8,
    /// See the constants. [`Bitmap::PAL_FROM_CACHE`] is set exactly with [`PaletteSource::Cached`].
    pub flags: u8,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// Colours of an indexed format.
    pub palette: PaletteSource,
    /// `stride * height` bytes, bottom row first unless [`Bitmap::TOP_DOWN`].
    pub data: &'a [u8],
}

impl Bitmap<'_> {
    /// Store the palette under its key.
    pub const PAL_CACHE_ME: u8 = 1;
    /// The palette is in the cache.
    pub const PAL_FROM_CACHE: u8 = 2;
    /// The first row is the top row.
    pub const TOP_DOWN: u8 = 4;
}

impl<'a> Field<'a> for Bitmap<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (format, flags) = (u8::decode(reader)?, u8::decode(reader)?);
        let (width, height) = (u32::decode(reader)?, u32::decode(reader)?);
        let stride = u32::decode(reader)?;
        let palette = PaletteSource::decode(flags, reader).map_err(|error| error.in_field("palette"))?;
        let length = u64::from(stride) * u64::from(height);
        let data = reader.bytes(usize::try_from(length).unwrap_or(usize::MAX));
        let data = data.map_err(|error| error.in_field("data"))?;
        Ok(Self { format, flags, width, height, stride, palette, data })
    }
    fn encode(&self, writer: &mut Writer) {
        self.format.encode(writer);
        self.flags.encode(writer);
        for number in [self.width, self.height, self.stride] {
            number.encode(writer);
        }
        self.palette.encode(writer);
        writer.bytes(self.data);
    }
}

/// SpiceLZPLT: LZ over palette indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LzPlt<'a> {
    /// Palette flags as in [`Bitmap`].
    pub flags: u8,
    /// Never [`PaletteSource::None`].
    pub palette: PaletteSource,
    /// The LZ stream with its header.
    pub data: &'a [u8],
}

impl<'a> Field<'a> for LzPlt<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (flags, size) = (u8::decode(reader)?, u32::decode(reader)?);
        let palette = PaletteSource::decode(flags, reader).map_err(|error| error.in_field("palette"))?;
        if palette == PaletteSource::None {
            return Err(reader.bad_pointer(0).in_field("palette"));
        }
        let data = reader.counted_bytes(size).map_err(|error| error.in_field("data"))?;
        Ok(Self { flags, palette, data })
    }
    fn encode(&self, writer: &mut Writer) {
        self.flags.encode(writer);
        writer.count::<u32>(self.data.len());
        self.palette.encode(writer);
        writer.bytes(self.data);
    }
}

fields! {
    /// SpiceZlibGlzRGB: a GLZ stream inside a zlib stream.
    ZlibGlzRgb<'a> {
        /// Bytes after inflating, as claimed.
        glz_size: u32,
        /// The zlib stream.
        data: Counted<'a>,
    }
}

/// SpiceJPEGAlpha: colours as JPEG, then alpha as LZ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JpegAlpha<'a> {
    /// 1: alpha rows are top-down.
    pub flags: u8,
    /// The JPEG file.
    pub jpeg: &'a [u8],
    /// The LZ stream.
    pub alpha: &'a [u8],
}

impl<'a> Field<'a> for JpegAlpha<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (flags, jpeg_size, size) = (u8::decode(reader)?, u32::decode(reader)?, u32::decode(reader)?);
        let Some(alpha_size) = size.checked_sub(jpeg_size) else {
            let (got, limit, offset) = (jpeg_size.into(), size.into(), reader.offset());
            return Err(WireError::OverLimit { what: "jpeg size", got, limit, offset });
        };
        Ok(Self { flags, jpeg: reader.counted_bytes(jpeg_size)?, alpha: reader.counted_bytes(alpha_size)? })
    }
    fn encode(&self, writer: &mut Writer) {
        self.flags.encode(writer);
        writer.count::<u32>(self.jpeg.len());
        writer.count::<u32>(self.jpeg.len() + self.alpha.len());
        writer.bytes(self.jpeg);
        writer.bytes(self.alpha);
    }
}
