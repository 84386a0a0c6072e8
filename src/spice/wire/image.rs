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
pub enum PaletteSource<'a> {
    /// Nowhere: the format carries colours itself.
    None,
    /// The palette cache, under this key.
    Cached(u64),
    /// The message.
    Inline(Palette<'a>),
}

impl<'a> PaletteSource<'a> {
    fn decode(flags: u8, reader: &mut Reader<'a>) -> Result<Self, WireError> {
        if flags & Bitmap::PAL_FROM_CACHE != 0 {
            return u64::decode(reader).map(Self::Cached);
        }
        Ok(match Option::<Pointer<Palette<'_>>>::decode(reader)? {
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
    pub palette: PaletteSource<'a>,
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
    pub palette: PaletteSource<'a>,
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
    /// See the constants.
    pub flags: u8,
    /// The JPEG file.
    pub jpeg: &'a [u8],
    /// The LZ stream.
    pub alpha: &'a [u8],
}

impl JpegAlpha<'_> {
    /// The first row of the alpha is the top row.
    pub const TOP_DOWN: u8 = 1;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spice::wire::Message;
    use crate::spice::wire::elements::Elements;
    use crate::spice::wire::testing::{annotated, check};

    /// An image as the whole body of a message.
    #[derive(Debug, PartialEq)]
    struct Body<'a>(Image<'a>);

    impl<'a> Field<'a> for Body<'a> {
        fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
            Image::decode(reader).map(Self)
        }
        fn encode(&self, writer: &mut Writer) {
            self.0.encode(writer);
        }
    }

    impl<'a> Message<'a> for Body<'a> {
        const KIND: u16 = 0;
        const NAME: &'static str = "IMAGE";
    }

    fn descriptor(kind: u8) -> (String, ImageDescriptor) {
        let text = format!(
            "0700000000000000 id
             {kind:02x} type
             01 flags
             02000000 width
             01000000 height
             "
        );
        (text, ImageDescriptor { id: 7, kind, flags: ImageDescriptor::CACHE_ME, width: 2, height: 1 })
    }

    #[track_caller]
    fn check_image(kind: u8, data: ImageData<'_>, rest: &str) {
        let (text, descriptor) = descriptor(kind);
        assert_eq!(data.kind().0, kind);
        check(&Body(Image { descriptor, data }), 0, &annotated(&(text + rest)));
    }

    #[test]
    fn compressed_images_are_counted_bytes() {
        let sized = "02000000 size \n aabb data";
        let data = || Counted(&[0xaa, 0xbb]);
        check_image(1, ImageData::Quic(data()), sized);
        check_image(101, ImageData::LzRgb(data()), sized);
        check_image(102, ImageData::GlzRgb(data()), sized);
        check_image(105, ImageData::Jpeg(data()), sized);
        check_image(109, ImageData::Lz4(data()), sized);
        let zlib = ZlibGlzRgb { glz_size: 9, data: data() };
        check_image(107, ImageData::ZlibGlzRgb(zlib), "09000000 glz_size \n 02000000 size \n aabb data");
        let jpeg = JpegAlpha { flags: 1, jpeg: &[1], alpha: &[2, 3] };
        let bytes = "01 flags \n 01000000 jpeg_size \n 03000000 size \n 01 jpeg \n 0203 alpha";
        check_image(108, ImageData::JpegAlpha(jpeg), bytes);
    }

    #[test]
    fn references_have_no_data() {
        check_image(103, ImageData::FromCache, "");
        check_image(106, ImageData::FromCacheLossless, "");
        check_image(104, ImageData::Surface(3), "03000000 surface_id");
    }

    #[test]
    fn a_bitmap_has_its_palette_behind_a_pointer_or_in_the_cache() {
        let palette = PaletteSource::Inline(Palette { unique: 5, colours: Elements::of([0x00ff_0000]) });
        let bitmap = |flags, palette| Bitmap {
            format: 5,
            flags,
            width: 2,
            height: 1,
            stride: 4,
            palette,
            data: &[0, 0, 9, 9],
        };
        let head = |flags: u8| {
            format!(
                "05 format \n {flags:02x} flags \n 02000000 width \n 01000000 height \n 04000000 stride \n"
            )
        };
        let inline = "28000000 palette_at_40
                      00000909 row
                      0500000000000000 unique
                      0100 count
                      0000ff00 colour";
        let flags = Bitmap::PAL_CACHE_ME | Bitmap::TOP_DOWN;
        check_image(0, ImageData::Bitmap(bitmap(flags, palette)), &(head(flags) + inline));
        let cached = "0600000000000000 palette_id \n 00000909 row";
        let flags = Bitmap::PAL_FROM_CACHE;
        check_image(0, ImageData::Bitmap(bitmap(flags, PaletteSource::Cached(6))), &(head(flags) + cached));
        let none = "00000000 palette \n 00000909 row";
        check_image(0, ImageData::Bitmap(bitmap(0, PaletteSource::None)), &(head(0) + none));
    }

    #[test]
    fn an_indexed_lz_image_needs_a_palette() {
        let palette = PaletteSource::Cached(6);
        let image = LzPlt { flags: Bitmap::PAL_FROM_CACHE, palette, data: &[0xaa] };
        let bytes = "02 flags \n 01000000 size \n 0600000000000000 palette_id \n aa data";
        check_image(100, ImageData::LzPlt(image), bytes);
        let (text, _) = descriptor(100);
        let null = annotated(&(text + "00 flags \n 01000000 size \n 00000000 palette \n aa data"));
        assert!(matches!(Body::from_body(&null), Err(WireError::BadPointer { field: "palette", .. })));
    }

    #[test]
    fn claims_beyond_the_body_are_refused_before_anything_is_allocated() {
        let (text, _) = descriptor(0);
        let huge = "08 format \n 00 flags \n ffffffff width \n ffffffff height \n ffffffff stride \n 00000000 palette";
        let error = Body::from_body(&annotated(&(text + huge))).map(|_| ());
        let wanted = 0xffff_ffff_u64 * 0xffff_ffff;
        assert_eq!(error, Err(WireError::Truncated { field: "data", wanted, offset: 36, left: 0 }));
        let (text, _) = descriptor(108);
        let backwards =
            annotated(&(text + "00 flags \n 05000000 jpeg_size \n 04000000 size \n 00000000 data"));
        assert!(matches!(Body::from_body(&backwards), Err(WireError::OverLimit { got: 5, limit: 4, .. })));
    }

    #[test]
    fn unknown_types_and_long_palettes_are_refused() {
        let (text, _) = descriptor(110);
        assert!(matches!(Body::from_body(&annotated(&text)), Err(WireError::UnknownValue { got: 110, .. })));
        let mut palette = 5_u64.to_le_bytes().to_vec();
        palette.extend_from_slice(&257_u16.to_le_bytes());
        palette.extend_from_slice(&[0; 257 * 4]);
        assert!(matches!(
            Palette::decode(&mut Reader::new(&palette)),
            Err(WireError::OverLimit { got: 257, .. })
        ));
    }
}
