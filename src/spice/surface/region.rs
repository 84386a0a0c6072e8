//! Where a draw takes effect: its box, cut by the clip and the surface, as rectangles that do not overlap.

use crate::spice::wire::types::{Clip, Rect};

/// Visits disjoint rectangles that cover what `clip` leaves of `bounds` within `surface`.
///
/// Rectangles of a clip may overlap; drawing a pixel twice would be wrong for all but plain copies.
pub(super) fn for_each_visible(bounds: &Rect, clip: &Clip, surface: &Rect, mut visit: impl FnMut(Rect)) {
    let bounds = bounds.intersect(surface);
    let Clip::Rects(rects) = clip else {
        if !bounds.is_empty() {
            visit(bounds);
        }
        return;
    };
    if let [only] = rects.as_slice() {
        let visible = only.intersect(&bounds);
        if !visible.is_empty() {
            visit(visible);
        }
        return;
    }
    let mut rects: Vec<_> = rects.iter().map(|rect| rect.intersect(&bounds)).collect();
    rects.retain(|rect| !rect.is_empty());
    rects.sort_unstable_by_key(|rect| rect.left);
    let mut edges: Vec<i32> = rects.iter().flat_map(|rect| [rect.top, rect.bottom]).collect();
    edges.sort_unstable();
    edges.dedup();
    // The rows are cut at every edge; within such a band columns unite from left to right.
    for band in edges.windows(2) {
        let (top, bottom) = (band[0], band[1]);
        let mut open: Option<Rect> = None;
        for rect in rects.iter().filter(|rect| rect.top <= top && rect.bottom >= bottom) {
            match &mut open {
                Some(last) if rect.left <= last.right => last.right = last.right.max(rect.right),
                _ => {
                    if let Some(complete) = open.replace(Rect { top, bottom, ..*rect }) {
                        visit(complete);
                    }
                }
            }
        }
        if let Some(last) = open {
            visit(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(bounds: Rect, clip: &Clip) -> Vec<Rect> {
        let mut visited = Vec::new();
        for_each_visible(&bounds, clip, &Rect::new(0, 0, 10, 10), |rect| visited.push(rect));
        visited
    }

    #[test]
    fn the_box_is_cut_at_the_surface() {
        assert_eq!(visible(Rect::new(-5, 8, 10, 10), &Clip::None), [Rect::new(0, 8, 5, 2)]);
        assert_eq!(visible(Rect::new(10, 0, 5, 5), &Clip::None), []);
    }

    #[test]
    fn overlapping_clip_rectangles_are_visited_once() {
        let clip = Clip::Rects(vec![Rect::new(0, 0, 4, 4), Rect::new(2, 2, 4, 4), Rect::new(2, 2, 4, 4)]);
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
        let clip = Clip::Rects(vec![Rect::new(5, 5, 2, 2), Rect::default()]);
        assert_eq!(visible(Rect::new(0, 0, 5, 5), &clip), []);
        assert_eq!(visible(Rect::new(0, 0, 5, 5), &Clip::Rects(Vec::new())), []);
    }
}
