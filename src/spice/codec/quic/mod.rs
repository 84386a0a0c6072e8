//! QUIC images: a predictive coder with Golomb-Rice codes that adapt to what they code (no relation of the
//! transport protocol).
//!
//! [`decode`] for what arrives, [`encode()`] for what is sent. `bits` reads and writes code words, `model` holds what both
//! directions must know alike, `plane` walks the rows.

mod bits;
mod encode;
mod model;
mod plane;

pub use encode::encode;

use super::lz::require;
use super::{CodecError, ImageLimits, Picture, Pool, expand_5_bits};
use bits::BitReader;
use model::{Eight, Family, Five, Pixel};
use plane::Plane;

/// "QUIC".
const MAGIC: u32 = 0x4349_5551;
const VERSION: u32 = 0;

/// What the samples of an image are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Shades of grey.
    Gray,
    /// Five bits for each of red, green and blue.
    Rgb16,
    /// Eight bits for each.
    Rgb24,
    /// The same, from pixels of four bytes.
    Rgb32,
    /// The same with alpha.
    Rgba,
}

impl Kind {
    fn from_wire(value: u32) -> Result<Self, CodecError> {
        Ok(match value {
            1 => Self::Gray,
            2 => Self::Rgb16,
            3 => Self::Rgb24,
            4 => Self::Rgb32,
            5 => Self::Rgba,
            other => {
                return Err(CodecError::Mismatch { what: "QUIC image type", wanted: 4, got: other.into() });
            }
        })
    }

    fn wire(self) -> u32 {
        match self {
            Self::Gray => 1,
            Self::Rgb16 => 2,
            Self::Rgb24 => 3,
            Self::Rgb32 => 4,
            Self::Rgba => 5,
        }
    }
}

/// Decodes a QUIC stream of an image of `width` by `height` pixels. Shades of grey become equal colours.
pub fn decode(data: &[u8], width: u32, height: u32, limits: ImageLimits) -> Result<Picture, CodecError> {
    decode_in(data, width, height, limits, &Pool::default())
}

/// The same with memory out of `pool`.
pub fn decode_in(
    data: &[u8],
    width: u32,
    height: u32,
    limits: ImageLimits,
    pool: &Pool,
) -> Result<Picture, CodecError> {
    /// Five words of header.
    const HEADER: usize = 20;
    let pixels = limits.check(width, height)?;
    let Some((header, stream)) = data.split_first_chunk::<HEADER>() else {
        return Err(CodecError::Truncated { offset: data.len(), produced: 0, wanted: pixels });
    };
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    require("QUIC magic", MAGIC.into(), word(0).into())?;
    require("QUIC version", VERSION.into(), word(4).into())?;
    let kind = Kind::from_wire(word(8))?;
    require("QUIC width", width.into(), word(12).into())?;
    require("QUIC height", height.into(), word(16).into())?;
    if stream.len() < 4 {
        return Err(CodecError::Truncated { offset: data.len(), produced: 0, wanted: pixels });
    }
    let mut bytes = pool.take(pixels * 4);
    let (reader, out) = (BitReader::new(stream), bytes.as_chunks_mut().0);
    let mut rows = Rows { data, reader, out, pool, width, produced: 0 };
    match kind {
        Kind::Gray => rows.fill::<Eight, 1>(|[shade, ..]| [shade, shade, shade, 0])?,
        Kind::Rgb16 => rows.fill::<Five, 3>(|pixel| pixel.map(|sample| expand_5_bits(sample.into())))?,
        Kind::Rgb24 | Kind::Rgb32 => rows.fill::<Eight, 3>(|pixel| pixel)?,
        Kind::Rgba => rows.fill_with_alpha()?,
    }
    Ok(Picture { width, height, has_alpha: kind == Kind::Rgba, bytes })
}

/// The rows of an image that is being decoded.
struct Rows<'a, 'o> {
    data: &'a [u8],
    reader: BitReader<'a>,
    out: &'o mut [Pixel],
    pool: &'o Pool,
    width: u32,
    produced: usize,
}

impl Rows<'_, '_> {
    fn width(&self) -> usize {
        usize::try_from(self.width).unwrap_or(usize::MAX)
    }

    fn fill<F: Family, const C: usize>(&mut self, show: impl Fn(Pixel) -> Pixel) -> Result<(), CodecError> {
        let mut plane = Plane::<F, C>::new(self.width(), self.pool);
        while self.produced < self.out.len() {
            self.row(&mut plane, |to, from| *to = show(from))?;
            self.produced += self.width();
        }
        Ok(())
    }

    fn fill_with_alpha(&mut self) -> Result<(), CodecError> {
        let mut colour = Plane::<Eight, 3>::new(self.width(), self.pool);
        let mut alpha = Plane::<Eight, 1>::new(self.width(), self.pool);
        while self.produced < self.out.len() {
            self.row(&mut colour, |to, from| *to = from)?;
            self.row(&mut alpha, |to, [alpha, ..]| to[3] = alpha)?;
            self.produced += self.width();
        }
        Ok(())
    }

    /// Decodes a row of one plane. What the data lacks was zeros up to here; it is an error now.
    fn row<F: Family, const C: usize>(
        &mut self,
        plane: &mut Plane<'_, F, C>,
        show: impl Fn(&mut Pixel, Pixel),
    ) -> Result<(), CodecError> {
        let decoded = plane.row(&mut self.reader);
        let (produced, wanted) = (self.produced, self.out.len());
        if self.reader.is_overdrawn() {
            return Err(CodecError::Truncated { offset: self.data.len(), produced, wanted });
        }
        let decoded = decoded.map_err(|run| CodecError::RunTooLong {
            length: run.length,
            produced: produced + run.column,
            left: run.left,
        })?;
        if self.reader.has_bad_code(F::SAMPLES) {
            return Err(CodecError::BadSample { bits: F::BITS, produced, wanted });
        }
        for (to, from) in self.out[produced..].iter_mut().zip(decoded) {
            show(to, *from);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;
    use crate::spice::codec::testing::{blocks, crc32, expected, steps, waves};
    use crate::spice::wire::testing::hex;

    const LIMITS: ImageLimits = ImageLimits { side: 512, pixels: 65_536 };

    /// RGB32, 8 x 6, [`waves`].
    const QUIC_1: &str = "
        515549430000000004000000080000000600000000808080d6051527ddba75eb8603006e84d830883b7642ec7684ddb1c0d62b22
        eed8197bd81176c7d65b63c7d81d7bc0183bc2eeadb16bec630f60eb63ec08bbbbc6aeb100b6de1cc7d811f6768d5d6300e0d839
        00000000";
    /// RGB32, 40 x 9, [`blocks`].
    const QUIC_2: &str = "
        5155494300000000040000002800000009000000e081808000ffff3b008019000000e008030202f600e0ffff010030031e00001c
        80ffffff00c00c0000007004feffff7b0043000000c001000404f40680ffff070050010000007c004040c00a2a000074800f0000
        b05f010000a80000f90f3e0003001300a82300e0842084200c078620301cfb0b81e1ed2f03cc607f20a863c00421088202c3c310
        1718defebfc0f0f6e00166b0c0e0d0311500005ec007000000a80000000054000200001f173078b80700008e066f0fc040c0f102
        0014cb3e50000020a01b0080bc35030018de13188820a8074020101013141f839fa0f8fb385eccd943f117c12020503f08048140
        82e2611013146f7ff16206fb8abf08c60281fa1941100804303c0c0282e1ed4f03cc607ffc4518c7c1d34f5020e0bd801500001e
        c00700001eae00000cef050c40b1ec0305000002bcc57b0b18de131802c1db07f400c37b00000000";
    /// RGBA, 40 x 6, [`blocks`].
    const QUIC_3: &str = "
        5155494300000000050000002800000006000000e081808000ffff3b008019000000e008030202f600e0ffff010030031e00001c
        80ffffff00c00c0000007004feffff7b0043000000c001000404f4061730f0070000fcff00f88074fc016100ffb30000010080ff
        7c000050c00a00000074404000002a000100800f0000b05f3e0000a81300f90f00e0030020ffaf23404e05000b080100ea130000
        21082108c38121080cc7fe026078fb0b0033d85ffbeb18f0722a00006c0800004110d408088210047f81e161fb0b0c6fd85f6078
        18f00033d42108ea59146f00607068880a00002fe00300800054000000002a000100800f0b183c5c030000c783b707e020e07801
        008a651f28000010d00d0040de9a01000cef090c4110d403000072c48012280822f309002208ca001008040404c5c7202728fefe
        8e1773f650fc45304110d4cf86a83bc400808a2700000000";
    /// RGB16, 12 x 6, [`waves`].
    const QUIC_4: &str = "
        5155494300000000020000000c000000060000000ccf21848427e7e73999ccff333399937c3a7122e22439998977e274e493e9c4
        32c98499929c244971929319492649263921932463929c4c649249324092649200000000";
    /// RGB32, 61 x 120, [`steps`]: more than three stages of the model.
    const QUIC_5: &str = "
        5155494300000000040000003d000000780000008048d0a80181cf802120080104420404ffff3943ffffffff00f0ffffff80ab00
        ffffffffffffffffff9fffff000084ff1f3ee00c000090fdec7ff2339f01008000c8fe6767f619000500643bb23967f6c0c07c03
        00fb0000805c0100203be73c0018ce377e601f0064e79c6506f00500d8070000ce399c1f086f40727d0000603ba3f385008001b8
        465fec037e0600000c69e7cc621f00000b0008fb103b67f6fb00006000c0db179cd9cf000000c3e4edbed807cc7e0100002039e7
        cd39b32f00ec1b902a26000002c0a66209d97503df806cce209b7366e69cd93767f60dc87c03b2390000c0a033e50bfbdf80ec9c
        000060303cf3857d37203be7000060b896f3857d1b909d73030000c3399d2fec000c6fcebeb00f00f8050094e70a000001cd398b
        f60100800080b12f987366bf0700004380e0bed87326bf0000000691e7bed80726bf008000209b73cd39b32fceec1b90fb066473
        01d99c330000c0be9b3a4d02d70d0800c8e69c640cc2e20db30f0000df80e49c000030205cf9c23e37203be7000018cad37c611f
        0dc8ce39000018ece77c611f0664e79cf60100e0e72cce1700000333932fec030000dc80e7bcce1500008633325fd80739b3df80
        008001ccce17f60133f90d180030849cf9c23e0026bf01d137209b73c8e69cd93967f60d997d03b2df806cce209b7366e69cd937
        03f50dc8ec0300000000002e9053a74971dd800000c00080be50fb003be7a4a518c83720611f0000ce39d77c18ea0dc8611f0000
        e79ce97c00000664c7f9b20f6050e69c857d0000001890f233fb15000018cc9c7c611f00cc7e03ce00182ee77c611f0066bf01e5
        00c09073e70bfb0099fc064c000070ce1b50cd156473ceec9c33fb06ccbe01d96f4036e790cd39b373ceec1b41fa0664f6010080
        9c73ce1706e21b90d8070000e79c2f5fc3f80664ec03000000009b2fd4691200372000ec8001005aa1f6010073b24e7d0080619d
        2f06f401b03967f63e0000300d58f9c2e59cc90f0000309ca4f9c23e9ce98706000083e59c2fec03263f34e00100807328ce17f6
        73660f0dae000080f6d0806b03b23967e69cd943660f0dc834209b736cce993d67f6d0804303b23900000cd047beb00f0dc8ce39
        0060480ff3857d00203be70c80413c3417f60100ec9cf3cd18e6d080611f0000e79ced7c0000605037e0857d000000ecaca9d324
        00000c00ea0bb50fdd8000589973927c03000003c09a2fece59cd96f03000043209d2fec00ceec375fd80700d937e0380500009c
        fb06647301d99c3336e7ccbe39b36f40ec1b90cd066473ced99c33fb6070be01857d000076ce59f230a06f40c23e00009d738ef9
        0ce11b90b00f0000396770be41bc01c9f6010080e77cce1700804138cc17f601ce99fc06000006622f5fd8077366bf010000c398
        9b2fec0300d86f40a749000060008052a87d000001a8535f48f6ba01611f0000df80e47c19f20766997d03b20dc8e60cb23967f6
        cee97a037d039273806cce999b7366df08cc3720fb0000409cf3e40b38df80ec7d000060e72cf385c037203b1f000018cee17c61
        7803927303000043199d2fec000370ce2fec0300b3df80918021cd3917f60100ec3720cc601073ce857d0000fb0d78f360989c33
        857d0000fd06b4f34072ce990000b06fa64e9300750302c0b23927d9ce997d0366df806c37209b73c8e69cd93967f60da07c03b2
        fb0000c09c33e50b30df80ec7d000060e73cf385b837203b0700004200395fd800000000";

    /// Decodes a published stream, compares pixels and checksum, and encodes them to the same stream again.
    #[track_caller]
    fn check(stream: &str, kind: Kind, size: (u32, u32), pattern: impl Fn(u32, u32) -> [u8; 4], crc: u32) {
        let stream = hex(stream);
        let (width, height) = size;
        let picture = decode(&stream, width, height, LIMITS).unwrap();
        let mut pixels = expected(width, height, pattern);
        if kind != Kind::Rgba {
            pixels.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 0);
        }
        let shown: Vec<u8> = match kind {
            Kind::Rgb16 => pixels.iter().map(|sample| expand_5_bits(u16::from(sample >> 3))).collect(),
            _ => pixels.clone(),
        };
        assert!(picture.bytes == shown, "pixels");
        let sums: Vec<u8> = match kind {
            Kind::Rgb16 => shown.chunks_exact(4).flat_map(as_555).collect(),
            _ => shown,
        };
        assert_eq!(crc32(&sums), crc);
        assert!(encode(kind, width, height, &pixels, LIMITS).unwrap() == stream, "encoded again");
        for length in 0..stream.len() - 4 {
            let error = decode(&stream[..length], width, height, LIMITS).unwrap_err();
            assert!(matches!(error, CodecError::Truncated { .. }), "{length} bytes: {error}");
        }
    }

    fn as_555(pixel: &[u8]) -> [u8; 2] {
        let [b, g, r] = [0, 1, 2].map(|channel| u16::from(pixel[channel] >> 3));
        (r << 10 | g << 5 | b).to_le_bytes()
    }

    #[test]
    fn published_streams_are_decoded_and_encoded() {
        check(QUIC_1, Kind::Rgb32, (8, 6), waves, 0xcfb0_b173);
        check(QUIC_2, Kind::Rgb32, (40, 9), blocks, 0xf920_c84e);
        check(QUIC_3, Kind::Rgba, (40, 6), blocks, 0x88bc_9210);
        check(QUIC_4, Kind::Rgb16, (12, 6), waves, 0xd321_b8e3);
        check(QUIC_5, Kind::Rgb32, (61, 120), steps, 0x5a08_3d51);
    }

    /// QUIC-1 with other words in its header.
    fn with_header(place: usize, value: u32) -> Vec<u8> {
        let mut stream = hex(QUIC_1);
        stream[place * 4..place * 4 + 4].copy_from_slice(&value.to_le_bytes());
        stream
    }

    #[test]
    fn headers_that_disagree_with_the_descriptor_are_refused() {
        let named = ["QUIC magic", "QUIC version", "QUIC image type", "QUIC width", "QUIC height"];
        for (place, name) in named.into_iter().enumerate() {
            for value in [7, u32::MAX] {
                let error = decode(&with_header(place, value), 8, 6, LIMITS).unwrap_err();
                assert!(matches!(error, CodecError::Mismatch { what, .. } if what == name), "{error}");
            }
        }
        let huge = decode(&with_header(3, u32::MAX), u32::MAX, 6, LIMITS);
        assert!(matches!(huge, Err(CodecError::Size { .. })));
    }

    fn stream(kind: Kind, width: u32, height: u32, words: &[u32]) -> Vec<u8> {
        let header = [MAGIC, VERSION, kind.wire(), width, height];
        header.iter().chain(words).flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn a_code_word_for_no_sample_is_refused() {
        // The first pixel of GRAY has seven low bits and an escape of one zero: no sample is out of reach. The
        // second of RGB16 ones that learned zero: 21 zeros and four ones are 21 + 15.
        let mut bits = bits::BitWriter::new(stream(Kind::Rgb16, 2, 1, &[]));
        (0..3).for_each(|_| bits.put(0b1_0000, 5));
        bits.put(0b1111, 25);
        (0..2).for_each(|_| bits.put(1, 1));
        let error = decode(&bits.finish(), 2, 1, LIMITS).unwrap_err();
        assert_eq!(error, CodecError::BadSample { bits: 5, produced: 0, wanted: 2 });
    }

    #[test]
    fn a_run_beyond_its_row_is_refused() {
        // A flat row of grey, then a row whose first three pixels allow a run of one step after the other.
        let mut bits = bits::BitWriter::new(encode(Kind::Gray, 8, 1, &[0; 32], LIMITS).unwrap());
        bits.put(u32::MAX, 32);
        let mut data = bits.finish();
        let flat = decode(&data, 8, 1, LIMITS).unwrap();
        assert_eq!(flat.bytes, [0; 32]);
        let two = encode(Kind::Gray, 8, 2, &[0; 64], LIMITS).unwrap();
        // All ones from the second row on: its pixels are 0 in one bit each, then come steps without end.
        data.splice(.., two[..20].iter().copied());
        let first = u32::from_le_bytes([two[20], two[21], two[22], two[23]]);
        let rest = (0..16).find_map(|bit| {
            let mut data = data.clone();
            data.extend((first | u32::MAX >> (8 + bit)).to_le_bytes());
            data.extend([0xff; 64]);
            decode(&data, 8, 2, LIMITS).err().filter(|error| matches!(error, CodecError::RunTooLong { .. }))
        });
        let error = rest.expect("steps that leave the row");
        assert!(matches!(error, CodecError::RunTooLong { left: 5, produced: 11, .. }), "{error}");
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Gray),
            Just(Kind::Rgb16),
            Just(Kind::Rgb24),
            Just(Kind::Rgb32),
            Just(Kind::Rgba)
        ]
    }

    /// Noise, flat stretches, gradients and text: bytes of `pixels` pixels.
    fn pictures(pixels: usize) -> impl Strategy<Value = Vec<u8>> {
        let noise = prop::collection::vec(any::<u8>(), pixels * 4);
        let stretches =
            prop::collection::vec((any::<[u8; 4]>(), 1_usize..300), 1..40).prop_map(move |stretches| {
                let all =
                    stretches.into_iter().flat_map(|(pixel, length)| std::iter::repeat_n(pixel, length));
                let all: Vec<[u8; 4]> = all.collect();
                all.iter().copied().cycle().take(pixels).flatten().collect::<Vec<u8>>()
            });
        let gradient = any::<[u8; 4]>().prop_map(move |slope| {
            let ramp = |place: usize, slope: u8| (place * usize::from(slope) / 64).to_le_bytes()[0];
            (0..pixels).flat_map(|place| slope.map(|slope| ramp(place, slope))).collect()
        });
        let text = (any::<[[u8; 4]; 2]>(), prop::collection::vec(any::<bool>(), 97)).prop_map(
            move |([paper, ink], strokes)| {
                let pixel = |place: usize| if strokes[place % 97] && place % 7 < 3 { ink } else { paper };
                (0..pixels).flat_map(pixel).collect()
            },
        );
        prop_oneof![noise, stretches, gradient, text]
    }

    /// Pixels as the decoder shows them.
    fn shown(kind: Kind, pixel: &[u8]) -> [u8; 4] {
        let [b, g, r, a] = [0, 1, 2, 3].map(|channel| pixel[channel]);
        match kind {
            Kind::Gray => [b, b, b, 0],
            Kind::Rgb16 => [b, g, r, 0].map(|sample| expand_5_bits(u16::from(sample >> 3))),
            Kind::Rgb24 | Kind::Rgb32 => [b, g, r, 0],
            Kind::Rgba => [b, g, r, a],
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            kind in kinds(),
            (width, height, pixels) in (1_u32..200, 1_u32..80).prop_flat_map(|(width, height)| {
                let pixels = pictures(usize::try_from(width * height).unwrap());
                (Just(width), Just(height), pixels)
            }),
        ) {
            let stream = encode(kind, width, height, &pixels, LIMITS).unwrap();
            let picture = decode(&stream, width, height, LIMITS).unwrap();
            let wanted: Vec<u8> = pixels.chunks_exact(4).flat_map(|pixel| shown(kind, pixel)).collect();
            prop_assert_eq!(picture.has_alpha, kind == Kind::Rgba);
            prop_assert!(picture.bytes == wanted);
        }

        #[test]
        fn no_stream_panics(
            kind in 0_u32..7,
            size in (1_u32..300, 1_u32..40),
            words in prop::collection::vec(prop_oneof![any::<u32>(), Just(0), Just(u32::MAX)], 0..200),
        ) {
            let header = [MAGIC, VERSION, kind, size.0, size.1];
            let data: Vec<u8> = header.iter().chain(&words).flat_map(|word| word.to_le_bytes()).collect();
            if let Ok(picture) = decode(&data, size.0, size.1, LIMITS) {
                prop_assert_eq!(picture.bytes.len(), usize::try_from(size.0 * size.1 * 4).unwrap());
            }
        }

        #[test]
        fn a_damaged_stream_never_panics(at in 0_usize..1264, value in any::<u8>()) {
            let mut data = hex(QUIC_5);
            data[20 + at] = value;
            let _ = decode(&data, 61, 120, LIMITS);
        }
    }
}
