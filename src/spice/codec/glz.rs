//! GLZ images: LZ with references into earlier images of the same dictionary.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lz::{MAGIC, PixelType, VERSION, require, row_length, truncated_header};
use super::units::{Alpha, Input, Pass, Rgb, Rgb16, Unit};
use super::{CodecError, ImageLimits, Picture, Pool, flip};

/// The images that later ones may refer to, for as long as their display channel is connected.
///
/// Every image of the channel must be decoded here, in order, whatever becomes of its draw.
///
/// Channels that tell the server the same dictionary id must have the same dictionary: see [`share`](Self::share).
/// Their images arrive in any order between them, so one may refer to another that is still on its way
/// ([`CodecError::ImageAwaited`]). Nothing has changed then, and the image can be decoded again later.
#[derive(Debug)]
pub struct Dictionary {
    images: Arc<Mutex<Images>>,
}

#[derive(Debug)]
struct Images {
    window_pixels: u64,
    pixels: u64,
    by_id: ById,
    /// Whether ids may arrive out of order.
    is_shared: bool,
    /// The id up to which all have arrived: what it refers to decides what is dropped.
    complete: Option<u64>,
}

#[derive(Debug)]
struct Stored {
    /// Pixels in storage order, four bytes each.
    pixels: Vec<u8>,
    /// The oldest image still referred to when this one was encoded.
    oldest: u64,
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

/// Servers send images this way from some 14 pixels on. Smaller ones would take much more memory than their pixels.
const MOST_IMAGES: usize = 1 << 20;

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
        let by_id = ById::default();
        let images = Images { window_pixels, pixels: 0, by_id, is_shared: false, complete: None };
        Self { images: Arc::new(Mutex::new(images)) }
    }

    /// The same dictionary for another channel. To be shared before its first image.
    #[must_use]
    pub fn share(&self) -> Self {
        self.lock().is_shared = true;
        Self { images: Arc::clone(&self.images) }
    }

    /// Pixels of all images in it.
    pub(in crate::spice) fn held_pixels(&self) -> u64 {
        self.lock().pixels
    }

    /// Decodes a GLZ stream of an image of `width` by `height` pixels and keeps it for later ones.
    pub fn decode(
        &mut self,
        data: &[u8],
        width: u32,
        height: u32,
        limits: ImageLimits,
    ) -> Result<Picture, CodecError> {
        self.decode_in(data, width, height, limits, &Pool::default())
    }

    /// The same with memory out of `pool`, which also gets that of the images that are dropped.
    pub fn decode_in(
        &mut self,
        data: &[u8],
        width: u32,
        height: u32,
        limits: ImageLimits,
        pool: &Pool,
    ) -> Result<Picture, CodecError> {
        let pixels = limits.check(width, height)?;
        let header = Header::decode(data, width, height)?;
        let mut images = self.lock();
        if u64::try_from(pixels).unwrap_or(u64::MAX) > images.window_pixels {
            return Err(images.window_exceeded(pixels));
        }
        let mut input = Input::new(data, Header::LENGTH);
        let mut stored = pool.take(pixels * 4);
        let mut has_alpha = false;
        match header.pixel_type {
            PixelType::Rgb32 | PixelType::Rgb24 => {
                images.decode_pass::<Rgb>(&mut input, &mut stored, header.id)?
            }
            PixelType::Rgb16 => images.decode_pass::<Rgb16>(&mut input, &mut stored, header.id)?,
            PixelType::Rgba => {
                images.decode_pass::<Rgb>(&mut input, &mut stored, header.id)?;
                images.decode_pass::<Alpha>(&mut input, &mut stored, header.id)?;
                has_alpha = true;
            }
            _ => return Err(CodecError::ForeignPixelType { container: "GLZ_RGB" }),
        }
        let mut bytes = pool.take(stored.len());
        bytes.copy_from_slice(&stored);
        flip(&mut bytes, row_length(width), header.is_top_down);
        images.keep(&header, stored, pixels, pool)?;
        Ok(Picture { width, height, has_alpha, bytes })
    }

    /// A channel that panicked has changed nothing half: an image is kept in the last step.
    fn lock(&self) -> MutexGuard<'_, Images> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Images {
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
        let source = id.checked_sub(distance);
        let image = source.and_then(|source| self.by_id.get(source));
        if let Some(awaited) = source.filter(|source| image.is_none() && self.may_still_arrive(*source)) {
            return Err(CodecError::ImageAwaited { id, awaited });
        }
        let image = image.map_or(&[][..], |image| &image.pixels);
        let end = offset.checked_add(length).and_then(|end| end.checked_mul(4));
        let range = end.and_then(|end| image.get(offset * 4..end));
        let available = image.len() / 4;
        range.ok_or(CodecError::BadImageReference { id, distance, offset, length, available })
    }

    fn may_still_arrive(&self, id: u64) -> bool {
        self.is_shared && self.complete.is_none_or(|complete| id > complete)
    }

    /// Adds an image and drops those that nothing will refer to any more.
    fn keep(
        &mut self,
        header: &Header,
        pixels: Vec<u8>,
        count: usize,
        pool: &Pool,
    ) -> Result<(), CodecError> {
        let oldest = header.id.saturating_sub(header.window_head_distance.into());
        let added = u64::try_from(count).unwrap_or(u64::MAX);
        self.pixels += added;
        if let Some(old) = self.by_id.insert(header.id, Stored { pixels, oldest }) {
            self.pixels -= pixel_count(&old);
            pool.give(old.pixels);
        }
        self.advance(header.id);
        let oldest =
            self.complete.and_then(|complete| self.by_id.get(complete)).map_or(0, |image| image.oldest);
        while let Some(dropped) = self.by_id.pop_before(oldest) {
            self.pixels -= pixel_count(&dropped);
            pool.give(dropped.pixels);
        }
        // The server counts before it adds, so the newest image may come on top. While an image is on its way
        // this side keeps what the server has dropped.
        let window = if self.is_shared { self.window_pixels.saturating_mul(2) } else { self.window_pixels };
        if self.pixels.saturating_sub(added) > window {
            return Err(self.window_exceeded(0));
        }
        if self.by_id.len() > MOST_IMAGES {
            return Err(CodecError::TooManyImages { images: self.by_id.len(), limit: MOST_IMAGES });
        }
        Ok(())
    }

    /// Moves `complete` on after the arrival of `id`.
    fn advance(&mut self, id: u64) {
        if !self.is_shared {
            self.complete = Some(id);
            return;
        }
        let mut next = self.complete.map_or(Some(0), |complete| complete.checked_add(1));
        while let Some(id) = next.filter(|id| self.by_id.get(*id).is_some()) {
            self.complete = Some(id);
            next = id.checked_add(1);
        }
    }

    fn window_exceeded(&self, more: usize) -> CodecError {
        let pixels = self.pixels.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        CodecError::WindowExceeded { pixels, window: self.window_pixels }
    }
}

/// Images in the order of their ids, which is nearly that in which they arrive.
#[derive(Debug, Default)]
struct ById(VecDeque<(u64, Stored)>);

impl ById {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, id: u64) -> Option<&Stored> {
        let place = self.place(id).ok()?;
        self.0.get(place).map(|(_, stored)| stored)
    }

    /// Adds an image and returns the one that had its id.
    fn insert(&mut self, id: u64, stored: Stored) -> Option<Stored> {
        match self.place(id) {
            Ok(place) => self.0.get_mut(place).map(|(_, old)| std::mem::replace(old, stored)),
            Err(place) => {
                self.0.insert(place, (id, stored));
                None
            }
        }
    }

    /// Takes out the first image, if its id is below `id`.
    fn pop_before(&mut self, id: u64) -> Option<Stored> {
        self.0.pop_front_if(|(first, _)| *first < id).map(|(_, stored)| stored)
    }

    fn place(&self, id: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |(id, _)| *id)
    }
}

fn pixel_count(stored: &Stored) -> u64 {
    u64::try_from(stored.pixels.len() / 4).unwrap_or(u64::MAX)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;
    use crate::spice::wire::testing::hex;

    const LIMITS: ImageLimits = ImageLimits { side: 256, pixels: 65_536 };

    /// 128 x 64, mostly one colour.
    const FIRST: &str = "
        20205a4c0001000118000000800000004000000200000000000000000000000000000a141ee0ffffffffffffffffffffffffff
        ffffffffffff93000001010203040506e1ffffffffffffffffffffffff7b0000";
    /// 16 x 1, with a long and a short reference to the first and one to itself.
    const SECOND: &str = "
        20205a4c000100011800000010000000010000004000000000000000010000000100aabbccf600384101420001c20000";

    fn dictionary() -> Dictionary {
        Dictionary::new(65_536)
    }

    fn colours(picture: &Picture) -> Vec<u32> {
        picture.bytes.chunks_exact(4).map(|p| u32::from_le_bytes([p[0], p[1], p[2], p[3]])).collect()
    }

    #[test]
    fn images_refer_to_themselves_and_to_earlier_ones() {
        let mut dictionary = dictionary();
        let first = colours(&dictionary.decode(&hex(FIRST), 128, 64, LIMITS).unwrap());
        assert_eq!((first.len(), first[0], first[5001]), (8192, 0x001e_140a, 0x0006_0504));
        let second = colours(&dictionary.decode(&hex(SECOND), 16, 1, LIMITS).unwrap());
        let [a, b, c, d] = [0x00cc_bbaa, 0x001e_140a, 0x0003_0201, 0x0006_0504];
        assert_eq!(second, [a, b, b, c, d, c, d, c, b, b, c, b, b, c, b, b]);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let (first, second) = (hex(FIRST), hex(SECOND));
        for length in 0..first.len() {
            assert!(dictionary().decode(&first[..length], 128, 64, LIMITS).is_err(), "{length}");
        }
        for length in 0..second.len() {
            let mut dictionary = dictionary();
            dictionary.decode(&first, 128, 64, LIMITS).unwrap();
            assert!(dictionary.decode(&second[..length], 16, 1, LIMITS).is_err(), "{length}");
        }
    }

    #[test]
    fn a_missing_image_and_pixels_beyond_its_end_are_refused() {
        let error = dictionary().decode(&hex(SECOND), 16, 1, LIMITS).unwrap_err();
        let (id, distance, offset) = (1, 1, 4998);
        assert_eq!(error, CodecError::BadImageReference { id, distance, offset, length: 7, available: 0 });
        let mut dictionary = dictionary();
        dictionary.decode(&hex(FIRST), 128, 64, LIMITS).unwrap();
        let mut late = hex(SECOND);
        // The same reference, seven units from three before the end: 8189 = 0x1ffd.
        late[37..42].copy_from_slice(&[0xfd, 0, 0xff, 0x41, 0x01]);
        let error = dictionary.decode(&late, 16, 1, LIMITS).unwrap_err();
        assert!(matches!(
            error,
            CodecError::BadImageReference { offset: 8189, length: 7, available: 8192, .. }
        ));
    }

    #[test]
    fn images_out_of_the_window_are_dropped() {
        let mut dictionary = dictionary();
        dictionary.decode(&hex(FIRST), 128, 64, LIMITS).unwrap();
        let mut alone = hex(SECOND);
        // Nothing further back than itself is referred to any more.
        alone[32] = 0;
        dictionary.decode(&alone, 16, 1, LIMITS).unwrap();
        let images = dictionary.lock();
        assert_eq!((images.pixels, images.by_id.0.len()), (16, 1));
    }

    /// The second image under another id, still referring to the first.
    fn second(id: u8, window_head_distance: u8) -> Vec<u8> {
        let mut data = hex(SECOND);
        data[28] = id;
        data[32] = window_head_distance;
        // The last byte of each reference to it is the distance, or ends with it.
        data[41] = data[41] & 0xc0 | id;
        data[44] = data[44] & 0xc0 | id;
        data
    }

    #[test]
    fn an_image_waits_for_one_that_another_channel_is_to_receive() {
        let mut here = dictionary();
        let mut there = here.share();
        let second = hex(SECOND);
        let early = here.decode(&second, 16, 1, LIMITS);
        assert_eq!(early, Err(CodecError::ImageAwaited { id: 1, awaited: 0 }));
        there.decode(&hex(FIRST), 128, 64, LIMITS).unwrap();
        let late = here.decode(&second, 16, 1, LIMITS).unwrap();
        let mut alone = dictionary();
        alone.decode(&hex(FIRST), 128, 64, LIMITS).unwrap();
        assert_eq!(late, alone.decode(&second, 16, 1, LIMITS).unwrap());
    }

    #[test]
    fn a_shared_dictionary_drops_nothing_that_an_image_on_its_way_may_need() {
        let mut here = dictionary();
        let mut there = here.share();
        let ids =
            |dictionary: &Dictionary| dictionary.lock().by_id.0.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        here.decode(&hex(FIRST), 128, 64, LIMITS).unwrap();
        // The third says that nothing before the second is needed, but the second is not there yet.
        let mut third = hex("20205a4c0001000118000000010000000100000004000000000000000200000001");
        third.extend([0, 1, 2, 3]);
        here.decode(&third, 1, 1, LIMITS).unwrap();
        assert_eq!(ids(&here), [0, 2]);
        there.decode(&hex(SECOND), 16, 1, LIMITS).unwrap();
        assert_eq!(ids(&here), [1, 2]);
        let gone = second(3, 1);
        let error = there.decode(&gone, 16, 1, LIMITS).unwrap_err();
        assert!(matches!(error, CodecError::BadImageReference { id: 3, distance: 3, available: 0, .. }));
    }

    #[test]
    fn a_server_that_overfills_the_window_is_refused() {
        let mut dictionary = Dictionary::new(8192 + 8191);
        let image = |id: u8| {
            let mut data = hex(FIRST);
            data[28] = id;
            // Everything stays referred to.
            data[32] = 9;
            data
        };
        dictionary.decode(&image(0), 128, 64, LIMITS).unwrap();
        dictionary.decode(&image(1), 128, 64, LIMITS).unwrap();
        let error = dictionary.decode(&image(2), 128, 64, LIMITS).unwrap_err();
        assert!(matches!(error, CodecError::WindowExceeded { window: 16_383, .. }));
        let none = Dictionary::new(0).decode(&hex(SECOND), 16, 1, LIMITS);
        assert_eq!(none, Err(CodecError::WindowExceeded { pixels: 16, window: 0 }));
    }

    proptest! {
        #[test]
        fn no_stream_panics(
            kind in 0_u8..32,
            size in (1_u32..40, 1_u32..40),
            ids in (0_u64..4, 0_u32..4),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut dictionary = dictionary();
            dictionary.decode(&hex(FIRST), 128, 64, LIMITS).unwrap();
            let mut data = [MAGIC.to_be_bytes(), VERSION.to_be_bytes()].concat();
            data.push(kind);
            data.extend([size.0, size.1, size.0 * 4].iter().flat_map(|word| word.to_be_bytes()));
            data.extend(ids.0.to_be_bytes());
            data.extend(ids.1.to_be_bytes());
            data.extend(body);
            let _ = dictionary.decode(&data, size.0, size.1, LIMITS);
        }
    }
}
