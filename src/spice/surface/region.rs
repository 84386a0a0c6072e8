//! Where a draw takes effect: its box, cut by the clip and the surface, as rectangles that do not overlap.

use crate::spice::wire::types::{Clip, Rect};

/// What a clip leaves of a box.
///
/// Rectangles of a clip may overlap; drawing a pixel twice would be wrong for all but plain copies.
#[derive(Debug, Default)]
pub(super) struct Region {
    /// From left to right; none is empty.
    rects: Vec<Rect>,
    /// Where rows have to be cut: every top and bottom, once, from top to bottom.
    edges: Vec<i32>,
}

impl Region {
    /// Makes this the region that `clip` leaves of `bounds` within `surface`, in the memory it has.
    pub(super) fn cut(&mut self, bounds: &Rect, clip: &Clip<'_>, surface: &Rect) {
        let bounds = bounds.intersect(surface);
        self.rects.clear();
        match clip {
            Clip::None => self.rects.push(bounds),
            Clip::Rects(rects) => self.rects.extend(rects.iter().map(|rect| rect.intersect(&bounds))),
        }
        self.rects.retain(|rect| !rect.is_empty());
        self.rects.sort_unstable_by_key(|rect| rect.left);
        self.edges.clear();
        self.edges.extend(self.rects.iter().flat_map(|rect| [rect.top, rect.bottom]));
        self.edges.sort_unstable();
        self.edges.dedup();
    }

    /// Whether it is at most one rectangle.
    pub(super) fn is_one_piece(&self) -> bool {
        self.rects.len() <= 1
    }

    /// The smallest rectangle around it.
    pub(super) fn extent(&self) -> Rect {
        self.rects.iter().copied().reduce(|all, rect| all.union(&rect)).unwrap_or_default()
    }

    /// Visits disjoint rectangles that cover what of the region lies within `bounds`.
    pub(super) fn for_each_within(&self, bounds: &Rect, mut visit: impl FnMut(Rect)) {
        let mut visit_part = |rect: Rect| {
            let part = rect.intersect(bounds);
            if !part.is_empty() {
                visit(part);
            }
        };
        if let [only] = self.rects.as_slice() {
            return visit_part(*only);
        }
        // The rows are cut at every edge; within such a band columns unite from left to right.
        let bands = self.edges.windows(2).map(|band| (band[0], band[1]));
        for (top, bottom) in bands.filter(|(top, bottom)| *top < bounds.bottom && *bottom > bounds.top) {
            let mut open: Option<Rect> = None;
            for rect in self.rects.iter().filter(|rect| rect.top <= top && rect.bottom >= bottom) {
                match &mut open {
                    Some(last) if rect.left <= last.right => last.right = last.right.max(rect.right),
                    _ => {
                        if let Some(complete) = open.replace(Rect { top, bottom, ..*rect }) {
                            visit_part(complete);
                        }
                    }
                }
            }
            if let Some(last) = open {
                visit_part(last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spice::wire::elements::Elements;

    const SURFACE: Rect = Rect { left: 0, top: 0, right: 10, bottom: 10 };

    fn visible(bounds: Rect, clip: &Clip<'_>) -> Vec<Rect> {
        let (mut region, mut visited) = (Region::default(), Vec::new());
        // What was cut before leaves nothing behind.
        region.cut(&SURFACE, &Clip::Rects(Elements::of([SURFACE, bounds])), &SURFACE);
        region.cut(&bounds, clip, &SURFACE);
        region.for_each_within(&bounds, |rect| visited.push(rect));
        visited
    }

    #[test]
    fn the_box_is_cut_at_the_surface() {
        assert_eq!(visible(Rect::new(-5, 8, 10, 10), &Clip::None), [Rect::new(0, 8, 5, 2)]);
        assert_eq!(visible(Rect::new(10, 0, 5, 5), &Clip::None), []);
    }

    #[test]
    fn overlapping_clip_rectangles_are_visited_once() {
        let rects = [Rect::new(0, 0, 4, 4), Rect::new(2, 2, 4, 4), Rect::new(2, 2, 4, 4)];
        let clip = Clip::Rects(Elements::of(rects));
        let mut hits = [[0; 10]; 10];
        for rect in visible(Rect::new(0, 0, 10, 10), &clip) {
            for y in rect.top..rect.bottom {
                for x in rect.left..rect.right {
                    hits[usize::try_from(y).unwrap()][usize::try_from(x).unwrap()] += 1;
                }
            }
        }
        let covered = hits.iter().flatten().filter(|hits| **hits == 1).count();
        assert_eq!((covered, hits.iter().flatten().max()), (16 + 16 - 4, Some(&1)));
    }

    #[test]
    fn rectangles_outside_of_the_box_show_nothing() {
        let clip = Clip::Rects(Elements::of([Rect::new(5, 5, 2, 2), Rect::default()]));
        assert_eq!(visible(Rect::new(0, 0, 5, 5), &clip), []);
        assert_eq!(visible(Rect::new(0, 0, 5, 5), &Clip::Rects(Elements::of([]))), []);
    }

    #[test]
    fn a_part_of_a_region_is_what_both_have() {
        let mut region = Region::default();
        let clip = Clip::Rects(Elements::of([Rect::new(0, 0, 4, 4), Rect::new(6, 2, 4, 4)]));
        region.cut(&SURFACE, &clip, &SURFACE);
        let mut visited = Vec::new();
        region.for_each_within(&Rect::new(3, 3, 4, 9), |rect| visited.push(rect));
        assert_eq!(visited, [Rect::new(3, 3, 1, 1), Rect::new(6, 3, 1, 1), Rect::new(6, 4, 1, 2)]);
        assert_eq!((region.extent(), region.is_one_piece()), (Rect::new(0, 0, 10, 6), false));
    }
}
