//! Which parts of a screen a viewer has not seen yet: few rectangles, however much is drawn.

use crate::spice::wire::types::Rect;

/// Rectangles that are still to be shown. Never more than [`Damage::MOST`].
#[derive(Debug, Clone, Default)]
pub(super) struct Damage {
    rects: Vec<Rect>,
}

impl Damage {
    /// More rectangles than this become fewer, larger ones.
    const MOST: usize = 32;

    /// Adds a rectangle.
    pub(super) fn add(&mut self, rect: Rect) {
        if rect.is_empty() {
            return;
        }
        let mut rect = rect;
        // What costs nothing to send together is one rectangle, which may then touch others.
        while let Some(near) = self.rects.iter().position(|known| is_worth_joining(known, &rect)) {
            rect = self.rects.remove(near).union(&rect);
        }
        if self.rects.len() == Self::MOST
            && let Some(cheapest) = (0..self.rects.len()).min_by_key(|&at| waste(&self.rects[at], &rect))
        {
            let joined = self.rects.remove(cheapest).union(&rect);
            return self.add(joined);
        }
        self.rects.push(rect);
    }

    /// Takes the oldest rectangle, or as many of its rows as hold `pixels`, but at least one.
    pub(super) fn take(&mut self, pixels: u64) -> Option<Rect> {
        let first = self.rects.first_mut()?;
        let width = u64::try_from(first.width()).unwrap_or(1).max(1);
        let rows = i32::try_from((pixels / width).max(1)).unwrap_or(i32::MAX);
        if first.height() <= rows {
            return Some(self.rects.remove(0));
        }
        let cut = first.top.saturating_add(rows);
        let taken = Rect { bottom: cut, ..*first };
        first.top = cut;
        Some(taken)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rects.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.rects.clear();
    }
}

/// Pixels that the rectangle around both has beyond the two.
fn waste(one: &Rect, other: &Rect) -> u64 {
    one.union(other).area().saturating_sub(one.area().saturating_add(other.area()))
}

fn is_worth_joining(one: &Rect, other: &Rect) -> bool {
    waste(one, other) <= JOIN_PIXELS
}

/// A message costs about as much as so many pixels.
const JOIN_PIXELS: u64 = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, proptest};

    use super::*;

    #[test]
    fn neighbours_become_one_and_strangers_stay_two() {
        let mut damage = Damage::default();
        damage.add(Rect::new(0, 0, 100, 16));
        damage.add(Rect::new(0, 16, 100, 16));
        damage.add(Rect::new(500, 500, 180, 180));
        damage.add(Rect::new(0, 0, 0, 9));
        assert_eq!(damage.rects, [Rect::new(0, 0, 100, 32), Rect::new(500, 500, 180, 180)]);
    }

    #[test]
    fn large_rectangles_are_taken_in_bands() {
        let mut damage = Damage::default();
        damage.add(Rect::new(4, 2, 10, 5));
        let taken: Vec<Rect> = std::iter::from_fn(|| damage.take(25)).collect();
        assert_eq!(taken, [Rect::new(4, 2, 10, 2), Rect::new(4, 4, 10, 2), Rect::new(4, 6, 10, 1)]);
        damage.add(Rect::new(0, 0, 10, 2));
        assert_eq!(damage.take(1), Some(Rect::new(0, 0, 10, 1)), "a row at least");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_there_are_never_many(
            added in prop::collection::vec((0..400_i32, 0..400_i32, 1..40_i32, 1..40_i32), 1..200),
        ) {
            let added: Vec<Rect> = added.into_iter().map(|(x, y, w, h)| Rect::new(x, y, w, h)).collect();
            let mut damage = Damage::default();
            added.iter().for_each(|rect| damage.add(*rect));
            prop_assert!(damage.rects.len() <= Damage::MOST);
            for rect in added {
                let corners = [(rect.left, rect.top), (rect.right - 1, rect.bottom - 1)];
                for (x, y) in corners {
                    let is_in = |it: &Rect| it.left <= x && x < it.right && it.top <= y && y < it.bottom;
                    prop_assert!(damage.rects.iter().any(is_in));
                }
            }
        }
    }
}
