//! Video streams: which there are, where their frames go, and the drawing of a frame.

use std::collections::HashMap;

use super::canvas::{Canvas, Outcome, check_clip, within};
use super::error::DrawError;
use super::paint;
use super::rop::Rop;
use super::sample::Stretch;
use crate::spice::codec::{Picture, jpeg};
use crate::spice::wire::display::{StreamClip, StreamCreate, StreamData, StreamDataSized};
use crate::spice::wire::draw::DisplayBase;
use crate::spice::wire::types::{Clip, Rect};

/// The streams of a display channel, by the server's ids.
#[derive(Debug, Default)]
pub(super) struct Streams {
    live: HashMap<u32, Stream>,
}

#[derive(Debug)]
struct Stream {
    is_top_down: bool,
    /// Size of a frame.
    frame: (u32, u32),
    /// What of it is shown, from its top left.
    shown: Rect,
    /// Surface, box and clip.
    base: DisplayBase<'static>,
}

impl Canvas {
    /// STREAM_CREATE, in place of a stream with the same id.
    pub fn create_stream(&mut self, message: &StreamCreate<'_>) -> Result<(), DrawError> {
        const STREAMS: usize = 64;
        let id = message.id;
        self.streams.live.remove(&id);
        let count = u64::try_from(self.streams.live.len() + 1).unwrap_or(u64::MAX);
        within("number of streams", count, u64::try_from(STREAMS).unwrap_or(u64::MAX))?;
        if let Some(codec) = foreign_codec(message.codec_type) {
            return Err(DrawError::StreamCodec { id, codec });
        }
        check_clip(&message.clip)?;
        let frame = (message.stream_width, message.stream_height);
        let checked = self.limits.images.check(frame.0, frame.1);
        checked.map_err(|source| DrawError::Stream { id, source })?;
        let (width, height) = (message.src_width, message.src_height);
        within("width shown of a frame", width.into(), frame.0.into())?;
        within("height shown of a frame", height.into(), frame.1.into())?;
        let side = |length: u32| i32::try_from(length).unwrap_or(0);
        let stream = Stream {
            is_top_down: message.flags & StreamCreate::TOP_DOWN != 0,
            frame,
            shown: Rect::new(0, 0, side(width), side(height)),
            base: DisplayBase {
                surface_id: message.surface_id,
                bounds: message.dest,
                clip: message.clip.clone().into_owned(),
            },
        };
        self.streams.live.insert(id, stream);
        Ok(())
    }

    /// STREAM_DATA: a frame of the stream's own size, to its own place.
    pub fn stream_data(&mut self, message: &StreamData<'_>) -> Result<Outcome, DrawError> {
        let Some(stream) = self.streams.live.get(&message.id) else { return Ok(NO_STREAM) };
        let (frame, shown, bounds) = (stream.frame, stream.shown, stream.base.bounds);
        self.draw_frame(message.id, message.data.0, frame, shown, bounds)
    }

    /// STREAM_DATA_SIZED: a frame that has its own size and place.
    pub fn stream_data_sized(&mut self, message: &StreamDataSized<'_>) -> Result<Outcome, DrawError> {
        if !self.streams.live.contains_key(&message.id) {
            return Ok(NO_STREAM);
        }
        let (id, frame) = (message.id, (message.width, message.height));
        let checked = self.limits.images.check(frame.0, frame.1);
        checked.map_err(|source| DrawError::Stream { id, source })?;
        let side = |length: u32| i32::try_from(length).unwrap_or(0);
        let shown = Rect::new(0, 0, side(frame.0), side(frame.1));
        self.draw_frame(id, message.data.0, frame, shown, message.dest)
    }

    /// STREAM_CLIP. False when there is no such stream.
    pub fn stream_clip(&mut self, message: &StreamClip<'_>) -> Result<bool, DrawError> {
        check_clip(&message.clip)?;
        let stream = self.streams.live.get_mut(&message.id);
        Ok(stream.map(|stream| stream.base.clip = message.clip.clone().into_owned()).is_some())
    }

    /// STREAM_DESTROY.
    pub fn destroy_stream(&mut self, id: u32) {
        self.streams.live.remove(&id);
    }

    /// STREAM_DESTROY_ALL.
    pub fn destroy_all_streams(&mut self) {
        self.streams.live.clear();
    }

    /// Whether there is a stream with this id.
    pub fn has_stream(&self, id: u32) -> bool {
        self.streams.live.contains_key(&id)
    }

    fn draw_frame(
        &mut self,
        id: u32,
        data: &[u8],
        size: (u32, u32),
        shown: Rect,
        bounds: Rect,
    ) -> Result<Outcome, DrawError> {
        let picture = jpeg::decode_in(data, size.0, size.1, self.limits.images, &self.pool);
        let picture = picture.map_err(|source| DrawError::Stream { id, source })?;
        self.put_frame(id, picture, size, shown, bounds)
    }

    /// Draws a decoded frame: to the nearest pixel when it is stretched, as other clients do.
    fn put_frame(
        &mut self,
        id: u32,
        mut picture: Picture,
        size: (u32, u32),
        shown: Rect,
        bounds: Rect,
    ) -> Result<Outcome, DrawError> {
        let got = (picture.width, picture.height);
        if got != size {
            return Err(DrawError::SizeMismatch { id: id.into(), wanted: size, got });
        }
        let Some(stream) = self.streams.live.get_mut(&id) else { return Ok(NO_STREAM) };
        if !stream.is_top_down {
            turn_over(&mut picture);
        }
        let clip = std::mem::replace(&mut stream.base.clip, Clip::None);
        let base = DisplayBase { surface_id: stream.base.surface_id, bounds, clip };
        let outcome = self.draw(&base, None, |surface, place| {
            let stretch = Stretch { picture: &picture, area: shown, bounds, is_smooth: false };
            paint::copy(surface, place, Rop::PUT, &stretch);
        });
        if let Some(stream) = self.streams.live.get_mut(&id) {
            stream.base.clip = base.clip;
        }
        self.pool.give(picture.bytes);
        outcome
    }
}

const NO_STREAM: Outcome = Outcome::Skipped("frame of a stream that does not exist");

/// The name of a codec that is not decoded here.
fn foreign_codec(number: u8) -> Option<&'static str> {
    match number {
        1 => None,
        2 => Some("VP8"),
        3 => Some("H264"),
        4 => Some("VP9"),
        5 => Some("H265"),
        _ => Some("of an unknown codec"),
    }
}

/// Makes the last row the first.
fn turn_over(picture: &mut Picture) {
    let row_bytes = usize::try_from(picture.width).unwrap_or(0).saturating_mul(4);
    if row_bytes == 0 {
        return;
    }
    let rows = picture.bytes.len() / row_bytes;
    let (top, bottom) = picture.bytes.split_at_mut(rows / 2 * row_bytes);
    for (upper, lower) in top.chunks_exact_mut(row_bytes).zip(bottom.rchunks_exact_mut(row_bytes)) {
        upper.swap_with_slice(lower);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spice::limits::Limits;
    use crate::spice::surface::CanvasOptions;
    use crate::spice::wire::bytes::Counted;
    use crate::spice::wire::display::SurfaceCreate;
    use crate::spice::wire::elements::Elements;

    fn canvas() -> Canvas {
        let limits = Limits::default();
        let mut canvas = Canvas::new(CanvasOptions { image_cache_pixels: 0, glz_window_pixels: 0, limits });
        let screen = SurfaceCreate { surface_id: 0, width: 4, height: 4, format: 32, flags: 1 };
        canvas.create_surface(&screen).unwrap();
        canvas
    }

    fn create(id: u32, flags: u8, dest: Rect, clip: Clip<'_>) -> StreamCreate<'_> {
        StreamCreate {
            surface_id: 0,
            id,
            flags,
            codec_type: 1,
            stamp: 0,
            stream_width: 2,
            stream_height: 2,
            src_width: 2,
            src_height: 2,
            dest,
            clip,
        }
    }

    /// Pixels 1 to 4, row by row.
    fn frame() -> Picture {
        let bytes = (1..5).flat_map(|blue| [blue, 0, 0, 0]).collect();
        Picture { width: 2, height: 2, has_alpha: false, bytes }
    }

    fn shown(canvas: &Canvas) -> String {
        let surface = canvas.surface(0).unwrap();
        let rows = surface.pixels().chunks_exact(16);
        let row = |row: &[u8]| row.iter().step_by(4).map(u8::to_string).collect::<String>();
        rows.map(row).collect::<Vec<_>>().join(" ")
    }

    fn put(canvas: &mut Canvas, id: u32, bounds: Rect) -> Outcome {
        canvas.put_frame(id, frame(), (2, 2), Rect::new(0, 0, 2, 2), bounds).unwrap()
    }

    const ALL: Rect = Rect { left: 0, top: 0, right: 4, bottom: 4 };

    #[test]
    fn frames_fill_their_place_the_right_way_up() {
        let mut canvas = canvas();
        canvas.create_stream(&create(3, StreamCreate::TOP_DOWN, ALL, Clip::None)).unwrap();
        assert_eq!(put(&mut canvas, 3, ALL), Outcome::Drawn(0, ALL));
        assert_eq!(shown(&canvas), "1122 1122 3344 3344");
        canvas.create_stream(&create(3, 0, ALL, Clip::None)).unwrap();
        put(&mut canvas, 3, Rect::new(1, 1, 2, 2));
        assert_eq!(shown(&canvas), "1122 1342 3124 3344", "bottom row first");
    }

    #[test]
    fn only_what_the_stream_shows_of_a_frame_is_drawn() {
        let mut canvas = canvas();
        let crop = StreamCreate { src_width: 1, ..create(3, StreamCreate::TOP_DOWN, ALL, Clip::None) };
        canvas.create_stream(&crop).unwrap();
        let shown_part = canvas.streams.live[&3].shown;
        canvas.put_frame(3, frame(), (2, 2), shown_part, ALL).unwrap();
        assert_eq!(shown(&canvas), "1111 1111 3333 3333");
        let wide = StreamCreate { src_width: 3, ..crop };
        let error = canvas.create_stream(&wide).unwrap_err();
        assert_eq!(error.to_string(), "width shown of a frame would be 3, limit is 2");
    }

    #[test]
    fn a_clip_lasts_until_the_next() {
        let mut canvas = canvas();
        let top = Clip::Rects(Elements::of([Rect::new(0, 0, 4, 1), Rect::new(0, 3, 1, 1)]));
        canvas.create_stream(&create(1, StreamCreate::TOP_DOWN, ALL, top)).unwrap();
        for _ in 0..2 {
            put(&mut canvas, 1, ALL);
            assert_eq!(shown(&canvas), "1122 0000 0000 3000");
        }
        let many = Clip::Rects(Elements::of([ALL; 4097]));
        assert!(matches!(
            canvas.stream_clip(&StreamClip { id: 1, clip: many }),
            Err(DrawError::Limit { .. })
        ));
        assert_eq!(canvas.stream_clip(&StreamClip { id: 1, clip: Clip::None }), Ok(true));
        assert_eq!(canvas.stream_clip(&StreamClip { id: 2, clip: Clip::None }), Ok(false));
        put(&mut canvas, 1, ALL);
        assert_eq!(shown(&canvas), "1122 1122 3344 3344");
    }

    #[test]
    fn frames_of_streams_that_ended_are_left_out() {
        let mut canvas = canvas();
        let data = StreamData { id: 1, multi_media_time: 0, data: Counted(&[]) };
        assert_eq!(canvas.stream_data(&data), Ok(NO_STREAM));
        canvas.create_stream(&create(1, 0, ALL, Clip::None)).unwrap();
        assert!(canvas.stream_data(&data).is_err(), "no frame at all");
        canvas.destroy_stream(1);
        assert_eq!(canvas.stream_data(&data), Ok(NO_STREAM));
        canvas.create_stream(&create(1, 0, ALL, Clip::None)).unwrap();
        canvas.destroy_all_streams();
        assert!(!canvas.has_stream(1));
    }

    #[test]
    fn other_codecs_sizes_and_numbers_are_refused_by_name() {
        let mut canvas = canvas();
        let foreign = StreamCreate { codec_type: 3, ..create(1, 0, ALL, Clip::None) };
        let error = canvas.create_stream(&foreign).unwrap_err();
        assert_eq!(error.to_string(), "stream 1 is H264, only MJPEG is decoded here");
        let huge = StreamCreate { stream_width: u32::MAX, ..create(1, 0, ALL, Clip::None) };
        assert!(matches!(canvas.create_stream(&huge), Err(DrawError::Stream { id: 1, .. })));
        for id in 0..64 {
            canvas.create_stream(&create(id * 1000, 0, ALL, Clip::None)).unwrap();
        }
        canvas.create_stream(&create(0, 0, ALL, Clip::None)).expect("takes the place of the first");
        let error = canvas.create_stream(&create(1, 0, ALL, Clip::None)).unwrap_err();
        assert_eq!(error.to_string(), "number of streams would be 65, limit is 64");
        let sized = StreamDataSized {
            id: 0,
            multi_media_time: 0,
            width: 0,
            height: 9,
            dest: ALL,
            data: Counted(&[]),
        };
        assert!(matches!(canvas.stream_data_sized(&sized), Err(DrawError::Stream { id: 0, .. })));
    }

    #[test]
    fn a_frame_of_another_size_is_refused() {
        let mut canvas = canvas();
        canvas.create_stream(&create(1, 0, ALL, Clip::None)).unwrap();
        let result = canvas.put_frame(1, frame(), (2, 3), Rect::new(0, 0, 2, 3), ALL);
        assert_eq!(result, Err(DrawError::SizeMismatch { id: 1, wanted: (2, 3), got: (2, 2) }));
    }
}
