//! What a server shows: one screen, one pointer, the lock lights; and who has seen how much of it.
//!
//! Performs no IO. Those who draw and those who look meet here, under one lock that is never held for long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use thiserror::Error;

use super::damage::Damage;
use super::fault::FaultId;
use crate::spice::codec::ImageLimits;
use crate::spice::wire::types::Rect;

/// A pointer's shape: blue, green, red and alpha per pixel, the colours multiplied by alpha.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorShape {
    /// Pixels per row, at most [`CursorShape::MOST_PIXELS`].
    pub width: u16,
    /// Rows, at most [`CursorShape::MOST_PIXELS`].
    pub height: u16,
    /// Column of the hot spot.
    pub hot_spot_x: u16,
    /// Row of the hot spot.
    pub hot_spot_y: u16,
    /// `width * height * 4` bytes, top row first.
    pub pixels: Vec<u8>,
}

impl CursorShape {
    /// Pixels of a side.
    pub const MOST_PIXELS: u16 = 1024;
}

/// What cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShowError {
    /// A screen of no pixels, or of too many.
    #[error("a screen of {width}x{height} pixels, sides are 1 to {limit}")]
    Size {
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
        /// Of a side.
        limit: u32,
    },
    /// Pixels beyond the screen.
    #[error("{width}x{height} pixels at {x},{y} do not fit on the screen")]
    Outside {
        /// Left edge.
        x: u32,
        /// Top edge.
        y: u32,
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Fewer pixels than the size says, or a shape with sides of no pixel or of too many.
    #[error("{got} bytes of pixels for a size of {width}x{height}")]
    Pixels {
        /// Bytes given.
        got: usize,
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
    },
}

/// Whom the stage keeps account of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ViewerId(u64);

/// What a viewer has to be shown next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scene {
    /// Nothing it has not seen.
    Seen,
    /// There is no screen any more.
    Dark,
    /// There is another screen.
    Screen { generation: u64, width: u32, height: u32 },
    /// These pixels: four bytes each, rows from the top without padding.
    Pixels { rect: Rect, pixels: Vec<u8> },
}

#[derive(Debug, Default)]
pub(super) struct Stage {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    screen: Option<Screen>,
    generations: u64,
    /// While a picture is being made nobody looks.
    is_drawing: bool,
    /// How many pictures were made.
    pictures: u64,
    /// Whether anything was drawn since the last one.
    is_changed: bool,
    viewers: BTreeMap<ViewerId, Viewer>,
    viewers_so_far: u64,
    /// Of those who wait until the last picture was seen.
    waiting: Vec<Waker>,
    cursor: (u64, Option<Arc<CursorShape>>),
    lights: u16,
    flips: Vec<Flip>,
}

#[derive(Debug, Default)]
struct Viewer {
    damage: Damage,
    /// The last picture that it said it has shown.
    confirmed: u64,
    /// Whether it was waited for in vain, and has confirmed nothing since.
    is_left_behind: bool,
}

/// A pixel that viewers see otherwise than it was drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flip {
    pub(super) id: FaultId,
    pub(super) x: u32,
    pub(super) y: u32,
    /// Bits of `0xRRGGBB`.
    pub(super) xor: u32,
    /// Until something is drawn there.
    pub(super) once: bool,
}

impl Flip {
    fn rect(&self) -> Rect {
        rect(self.x, self.y, 1, 1)
    }
}

#[derive(Debug)]
struct Screen {
    width: u32,
    height: u32,
    generation: u64,
    pixels: Vec<u8>,
}

impl Stage {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts up a black screen of this size in place of whatever there is.
    pub(super) fn set_screen(&self, width: u32, height: u32) -> Result<(), ShowError> {
        let limits = LIMITS;
        let pixels =
            limits.check(width, height).map_err(|_| ShowError::Size { width, height, limit: limits.side })?;
        let mut state = self.lock();
        state.generations += 1;
        let generation = state.generations;
        state.screen = Some(Screen { width, height, generation, pixels: vec![0; pixels * 4] });
        state.is_changed = true;
        state.flips.retain(|flip| !flip.once);
        state.viewers.values_mut().for_each(|viewer| viewer.damage.clear());
        Ok(())
    }

    /// Size of the screen.
    pub(super) fn size(&self) -> Option<(u32, u32)> {
        self.lock().screen.as_ref().map(|screen| (screen.width, screen.height))
    }

    /// Takes the screen away.
    pub(super) fn clear_screen(&self) {
        let mut state = self.lock();
        state.screen = None;
        state.viewers.values_mut().for_each(|viewer| viewer.damage.clear());
    }

    /// From here on nobody looks until [`Stage::end_drawing`].
    pub(super) fn begin_drawing(&self) {
        self.lock().is_drawing = true;
    }

    pub(super) fn end_drawing(&self) {
        let mut state = self.lock();
        state.is_drawing = false;
        if std::mem::take(&mut state.is_changed) {
            state.pictures += 1;
        }
    }

    /// Whether all viewers have confirmed the last picture, apart from those that were left behind.
    pub(super) fn poll_seen(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.is_seen() {
            return Poll::Ready(());
        }
        state.waiting.retain(|waker| !waker.will_wake(context.waker()));
        state.waiting.push(context.waker().clone());
        Poll::Pending
    }

    /// Whoever has not confirmed the last picture is not waited for until it confirms another one.
    pub(super) fn leave_behind(&self) {
        let mut state = self.lock();
        let pictures = state.pictures;
        let late = state.viewers.values_mut().filter(|viewer| viewer.confirmed < pictures);
        late.for_each(|viewer| viewer.is_left_behind = true);
        state.wake();
    }

    /// The last picture, if a viewer was sent all of it.
    pub(super) fn sent(&self, viewer: ViewerId, shown: Option<u64>) -> Option<u64> {
        let state = self.lock();
        let generation = state.screen.as_ref().map(|screen| screen.generation);
        let viewer = state.viewers.get(&viewer)?;
        let is_sent = !state.is_drawing && generation == shown && viewer.damage.is_empty();
        is_sent.then_some(state.pictures)
    }

    /// A viewer says that it has shown everything up to this picture.
    pub(super) fn confirm(&self, viewer: ViewerId, picture: u64) {
        let mut state = self.lock();
        if let Some(viewer) = state.viewers.get_mut(&viewer) {
            viewer.confirmed = viewer.confirmed.max(picture);
            viewer.is_left_behind = false;
        }
        state.wake();
    }

    /// Puts pixels on the screen: rows of `width` pixels of four bytes, blue first, without padding. Returns whether they
    /// can be seen at once.
    pub(super) fn draw(&self, x: u32, y: u32, width: u32, pixels: &[u8]) -> Result<bool, ShowError> {
        let row_bytes = bytes_of(width);
        if row_bytes == 0 || pixels.is_empty() || !pixels.len().is_multiple_of(row_bytes) {
            return Err(ShowError::Pixels { got: pixels.len(), width, height: 0 });
        }
        let height = u32::try_from(pixels.len() / row_bytes).unwrap_or(u32::MAX);
        let mut state = self.lock();
        let outside = ShowError::Outside { x, y, width, height };
        let Some(screen) = &mut state.screen else { return Err(outside) };
        let (Some(right), Some(bottom)) = (x.checked_add(width), y.checked_add(height)) else {
            return Err(outside);
        };
        if right > screen.width || bottom > screen.height {
            return Err(outside);
        }
        let stride = bytes_of(screen.width);
        let rows = screen.pixels.chunks_exact_mut(stride).skip(to_usize(y));
        for (row, new) in rows.zip(pixels.chunks_exact(row_bytes)) {
            row[bytes_of(x)..bytes_of(right)].copy_from_slice(new);
        }
        let rect = rect(x, y, width, height);
        state.is_changed = true;
        state.flips.retain(|flip| !flip.once || rect.intersect(&flip.rect()).is_empty());
        state.viewers.values_mut().for_each(|viewer| viewer.damage.add(rect));
        Ok(!state.is_drawing)
    }

    /// Shows a pixel otherwise. It may lie beyond a screen that is yet to come.
    pub(super) fn flip(&self, flip: Flip) -> Result<(), ShowError> {
        let mut state = self.lock();
        match &state.screen {
            Some(screen) if flip.x >= screen.width || flip.y >= screen.height => {
                Err(ShowError::Outside { x: flip.x, y: flip.y, width: 1, height: 1 })
            }
            _ => {
                state.flips.push(flip);
                state.damage_pixel(&flip);
                Ok(())
            }
        }
    }

    /// Shows a pixel as it is.
    pub(super) fn unflip(&self, id: FaultId) {
        let mut state = self.lock();
        if let Some(at) = state.flips.iter().position(|flip| flip.id == id) {
            let flip = state.flips.remove(at);
            state.damage_pixel(&flip);
        }
    }

    pub(super) fn set_cursor(&self, shape: Option<CursorShape>) -> Result<(), ShowError> {
        if let Some(shape) = &shape {
            let sides = [shape.width, shape.height];
            let bytes = usize::from(shape.width) * usize::from(shape.height) * 4;
            if sides.iter().any(|side| !(1..=CursorShape::MOST_PIXELS).contains(side))
                || shape.pixels.len() != bytes
            {
                let (width, height) = (shape.width.into(), shape.height.into());
                return Err(ShowError::Pixels { got: shape.pixels.len(), width, height });
            }
        }
        let mut state = self.lock();
        state.cursor = (state.cursor.0 + 1, shape.map(Arc::new));
        Ok(())
    }

    /// The pointer's shape, and a number that changes with it.
    pub(super) fn cursor(&self) -> (u64, Option<Arc<CursorShape>>) {
        self.lock().cursor.clone()
    }

    pub(super) fn set_lights(&self, lights: u16) {
        self.lock().lights = lights;
    }

    pub(super) fn lights(&self) -> u16 {
        self.lock().lights
    }

    /// Begins to keep account of what a viewer has seen: nothing yet.
    pub(super) fn add_viewer(&self) -> ViewerId {
        let mut state = self.lock();
        state.viewers_so_far += 1;
        let viewer = ViewerId(state.viewers_so_far);
        state.viewers.insert(viewer, Viewer::default());
        viewer
    }

    pub(super) fn remove_viewer(&self, viewer: ViewerId) {
        let mut state = self.lock();
        state.viewers.remove(&viewer);
        state.wake();
    }

    /// What to show a viewer that has the screen of generation `shown`, in pieces of at most `pixels` pixels or one row.
    pub(super) fn next(&self, viewer: ViewerId, shown: Option<u64>, pixels: u64) -> Scene {
        let mut state = self.lock();
        let state = &mut *state;
        if state.is_drawing {
            return Scene::Seen;
        }
        let Some(Viewer { damage, .. }) = state.viewers.get_mut(&viewer) else { return Scene::Seen };
        let Some(screen) = &state.screen else {
            return if shown.is_some() { Scene::Dark } else { Scene::Seen };
        };
        let (generation, width, height) = (screen.generation, screen.width, screen.height);
        if shown != Some(generation) {
            damage.clear();
            damage.add(rect(0, 0, width, height));
            return Scene::Screen { generation, width, height };
        }
        match damage.take(pixels) {
            Some(rect) => {
                let mut pixels = screen.copy(&rect);
                state.flips.iter().for_each(|flip| flip_in(&mut pixels, &rect, flip));
                Scene::Pixels { rect, pixels }
            }
            None => Scene::Seen,
        }
    }

    /// Whether a viewer has seen everything there is.
    pub(super) fn is_seen(&self, viewer: ViewerId, shown: Option<u64>) -> bool {
        let state = self.lock();
        let generation = state.screen.as_ref().map(|screen| screen.generation);
        generation == shown && state.viewers.get(&viewer).is_none_or(|viewer| viewer.damage.is_empty())
    }
}

impl State {
    fn is_seen(&self) -> bool {
        self.viewers.values().all(|viewer| viewer.is_left_behind || viewer.confirmed >= self.pictures)
    }

    fn wake(&mut self) {
        if self.is_seen() {
            self.waiting.drain(..).for_each(Waker::wake);
        }
    }

    fn damage_pixel(&mut self, flip: &Flip) {
        let is_on = |screen: &Screen| flip.x < screen.width && flip.y < screen.height;
        if self.screen.as_ref().is_some_and(is_on) {
            self.viewers.values_mut().for_each(|viewer| viewer.damage.add(flip.rect()));
        }
    }
}

/// Flips a pixel of those in `rect`, if it is one of them.
fn flip_in(pixels: &mut [u8], rect: &Rect, flip: &Flip) {
    let pixel = rect.intersect(&flip.rect());
    if pixel.is_empty() {
        return;
    }
    let side = |value: i32| usize::try_from(value).unwrap_or(0);
    let at = side(pixel.top - rect.top) * side(rect.width()) + side(pixel.left - rect.left);
    let bytes = pixels.iter_mut().skip(at * 4).zip(flip.xor.to_le_bytes());
    bytes.take(3).for_each(|(byte, xor)| *byte ^= xor);
}

impl Screen {
    /// The pixels inside `rect`, which lies on the screen.
    fn copy(&self, rect: &Rect) -> Vec<u8> {
        let side = |value: i32| usize::try_from(value).unwrap_or(0);
        let (left, right) = (side(rect.left) * 4, side(rect.right) * 4);
        let rows = self.pixels.chunks_exact(bytes_of(self.width)).skip(side(rect.top));
        let mut copied = Vec::with_capacity((right - left) * side(rect.height()));
        for row in rows.take(side(rect.height())) {
            copied.extend_from_slice(&row[left..right]);
        }
        copied
    }
}

fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
    let side = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    Rect::new(side(x), side(y), side(width), side(height))
}

/// Bytes of so many pixels.
fn bytes_of(pixels: u32) -> usize {
    to_usize(pixels) * 4
}

fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX / 4)
}

/// What clients take.
const LIMITS: ImageLimits = ImageLimits { side: 16_384, pixels: 64 << 20 };

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(of: &Scene) -> Option<(Rect, usize)> {
        match of {
            Scene::Pixels { rect, pixels } => Some((*rect, pixels.len())),
            _ => None,
        }
    }

    #[test]
    fn a_viewer_sees_the_screen_then_its_pixels_then_what_changes() {
        let stage = Stage::default();
        let viewer = stage.add_viewer();
        assert_eq!(stage.next(viewer, None, 64), Scene::Seen, "a dark stage is nothing to tell");
        stage.set_screen(16, 8).unwrap();
        let Scene::Screen { generation, width: 16, height: 8 } = stage.next(viewer, None, 64) else {
            panic!()
        };
        let shown = Some(generation);
        assert_eq!(pixels(&stage.next(viewer, shown, 64)), Some((Rect::new(0, 0, 16, 4), 256)));
        assert_eq!(pixels(&stage.next(viewer, shown, 64)), Some((Rect::new(0, 4, 16, 4), 256)));
        assert!(stage.next(viewer, shown, 64) == Scene::Seen && stage.is_seen(viewer, shown));
        stage.begin_drawing();
        stage.draw(2, 1, 1, &[9; 8]).unwrap();
        assert_eq!(stage.next(viewer, shown, 64), Scene::Seen, "half a picture is not shown");
        stage.end_drawing();
        let drawn = Scene::Pixels { rect: Rect::new(2, 1, 1, 2), pixels: vec![9; 8] };
        assert_eq!(stage.next(viewer, shown, 64), drawn);
        stage.clear_screen();
        assert_eq!(stage.next(viewer, shown, 64), Scene::Dark);
    }

    #[test]
    fn a_flipped_pixel_is_shown_otherwise_until_it_is_drawn_anew_or_put_right() {
        let (stage, mut ids) = (Stage::default(), crate::spice::server::fault::Faults::default());
        let viewer = stage.add_viewer();
        stage.set_screen(4, 2).unwrap();
        let Scene::Screen { generation, .. } = stage.next(viewer, None, 64) else { panic!() };
        let seen = |wanted: &[u8]| match stage.next(viewer, Some(generation), 64) {
            Scene::Pixels { pixels, .. } => assert_eq!(pixels, wanted),
            other => panic!("{other:?}"),
        };
        seen(&[0; 32]);
        let flip = Flip { id: ids.next_id(), x: 3, y: 1, xor: 0x0001_02ff, once: false };
        stage.flip(flip).unwrap();
        seen(&[0xff, 2, 1, 0]);
        stage.draw(2, 1, 2, &[7; 8]).unwrap();
        seen(&[7, 7, 7, 7, 7 ^ 0xff, 5, 6, 7]);
        stage.unflip(flip.id);
        seen(&[7; 4]);
        let once = Flip { id: ids.next_id(), once: true, ..flip };
        stage.flip(once).unwrap();
        seen(&[7 ^ 0xff, 5, 6, 7]);
        stage.draw(3, 1, 1, &[7; 4]).unwrap();
        seen(&[7; 4]);
        assert!(stage.flip(Flip { id: ids.next_id(), x: 4, ..flip }).is_err());
        assert_eq!(stage.next(viewer, Some(generation), 64), Scene::Seen);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let stage = Stage::default();
        assert!(stage.draw(0, 0, 1, &[0; 4]).is_err(), "no screen");
        for (width, height) in [(0, 1), (1, 0), (16_385, 1), (u32::MAX, u32::MAX)] {
            assert!(stage.set_screen(width, height).is_err(), "{width}x{height}");
        }
        stage.set_screen(4, 4).unwrap();
        for (x, y, width, bytes) in
            [(3, 0, 2, 8), (0, 4, 1, 4), (u32::MAX, 0, 1, 4), (0, 0, 2, 7), (0, 0, 0, 4)]
        {
            assert!(stage.draw(x, y, width, &vec![1; bytes]).is_err(), "{x},{y}");
        }
        let shape = |side, bytes| CursorShape {
            width: side,
            height: side,
            hot_spot_x: 0,
            hot_spot_y: 0,
            pixels: vec![0; bytes],
        };
        assert!(stage.set_cursor(Some(shape(2, 15))).is_err());
        assert!(stage.set_cursor(Some(shape(0, 0))).is_err());
        assert!(stage.set_cursor(Some(shape(2, 16))).is_ok());
    }
}
