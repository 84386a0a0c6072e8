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
