//! Lines one pixel wide along a path, whole or in dashes.
//!
//! Which pixels a line touches is what X servers and the other SPICE clients agree on: Bresenham's line, where a tie
//! between two pixels goes to the same one in both directions.

use super::canvas::within;
use super::error::DrawError;
use crate::spice::wire::draw::{LineAttr, Path};
use crate::spice::wire::types::{Point, Rect};

/// SPICE_PATH flags.
mod flag {
    pub(super) const BEGIN: u8 = 1;
    pub(super) const END: u8 = 2;
    pub(super) const CLOSE: u8 = 8;
    pub(super) const BEZIER: u8 = 16;
}

/// Draws along a path, in memory that it keeps.
#[derive(Debug, Default)]
pub(super) struct Pen {
    /// In sixteenths of a pixel.
    at: Option<Point>,
    /// Points on the pixel grid, polyline by polyline.
    points: Vec<Point>,
    /// Where each polyline ends.
    ends: Vec<usize>,
    dashes: Dashes,
}

impl Pen {
    /// Takes down the lines of a path, curves broken into short ones, instead of those of the one before.
    pub(super) fn follow(&mut self, path: &Path<'_>, attr: &LineAttr<'_>) -> Result<(), DrawError> {
        self.points.clear();
        self.ends.clear();
        self.at = None;
        self.dashes.set(attr);
        for segment in path.segments.iter() {
            let mut points = segment.points.iter();
            if segment.flags & flag::BEGIN != 0 {
                self.lift();
            }
            // The first point of a figure is where it starts, whatever kind of segment it is in.
            if self.at.is_none()
                && let Some(first) = points.next()
            {
                self.line_to(first)?;
            }
            if segment.flags & flag::BEZIER != 0 {
                while let (Some(first), Some(second), Some(end)) =
                    (points.next(), points.next(), points.next())
                {
                    self.curve_to([first, second, end])?;
                }
            } else {
                points.try_for_each(|point| self.line_to(point))?;
            }
            if segment.flags & flag::END != 0 {
                if segment.flags & flag::CLOSE != 0 {
                    self.close();
                }
                self.lift();
            }
        }
        self.lift();
        Ok(())
    }

    /// The connected lines.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[Point]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.points.get(start..*end).unwrap_or_default())
    }

    /// Whether the pixel `step` steps from the beginning of a polyline is drawn.
    pub(super) fn draws(&self, step: u64) -> bool {
        self.dashes.draws(step)
    }

    /// Where the polyline begins that is being drawn.
    fn start(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn line_to(&mut self, point: Point) -> Result<(), DrawError> {
        const POINTS: u64 = 1 << 20;
        let count = u64::try_from(self.points.len()).unwrap_or(u64::MAX);
        within("number of points of a path", count.saturating_add(1), POINTS)?;
        self.at = Some(point);
        self.points.push(Point { x: to_pixel(point.x), y: to_pixel(point.y) });
        Ok(())
    }

    /// A cubic curve in about as many lines as it is long in pairs of pixels.
    fn curve_to(&mut self, [first, second, end]: [Point; 3]) -> Result<(), DrawError> {
        let Some(start) = self.at else { return Ok(()) };
        let corners = [start, first, second, end];
        let distance = |pair: &[Point]| {
            u64::from(pair[0].x.abs_diff(pair[1].x)) + u64::from(pair[0].y.abs_diff(pair[1].y))
        };
        let length: u64 = corners.windows(2).map(distance).sum();
        let pieces = i64::try_from((length / 32).clamp(1, 128)).unwrap_or(1);
        for piece in 1..=pieces {
            let axis = |axis: fn(&Point) -> i32| bezier(corners.map(|corner| axis(&corner)), piece, pieces);
            self.line_to(Point { x: axis(|point| point.x), y: axis(|point| point.y) })?;
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some([first, .., _]) = self.points.get(self.start()..) {
            self.points.push(*first);
        }
    }

    fn lift(&mut self) {
        self.at = None;
        if self.points.len() > self.start() {
            self.ends.push(self.points.len());
        }
    }
}

/// One coordinate of the curve at `piece / pieces` of its length.
fn bezier(corners: [i32; 4], piece: i64, pieces: i64) -> i32 {
    let (done, left) = (piece, pieces - piece);
    let weights = [left * left * left, 3 * left * left * done, 3 * left * done * done, done * done * done];
    let whole = pieces * pieces * pieces;
    let sum: i64 = corners.iter().zip(weights).map(|(corner, weight)| i64::from(*corner) * weight).sum();
    i32::try_from((sum + whole / 2).div_euclid(whole)).unwrap_or(corners[3])
}

/// The nearest pixel to a number of sixteenths; of two the first.
fn to_pixel(sixteenths: i32) -> i32 {
    (sixteenths >> 4) + i32::from(sixteenths & 0xf > 8)
}

/// Where along a line it is drawn.
#[derive(Debug, Default)]
struct Dashes {
    /// Where each dash and each gap ends, in pixels from the beginning of the pattern; empty for a whole line.
    ends: Vec<u64>,
    begins_with_gap: bool,
}

impl Dashes {
    fn set(&mut self, attr: &LineAttr<'_>) {
        self.begins_with_gap = attr.flags & LineAttr::START_WITH_GAP != 0;
        self.ends.clear();
        let Some(style) = &attr.style else { return };
        // After an odd number of dashes and gaps they exchange their roles.
        let rounds = if style.len().is_multiple_of(2) { 1 } else { 2 };
        let mut end = 0;
        for length in (0..rounds).flat_map(|_| style.iter()) {
            end += u64::try_from(to_pixel(length)).unwrap_or(0);
            self.ends.push(end);
        }
        if end == 0 {
            self.ends.clear();
        }
    }

    /// Whether the pixel `step` steps from the beginning of a polyline is drawn.
    fn draws(&self, step: u64) -> bool {
        let Some(cycle) = self.ends.last() else { return true };
        let place = self.ends.partition_point(|end| *end <= step % cycle);
        place.is_multiple_of(2) != self.begins_with_gap
    }
}

/// Visits the pixels of a polyline within `area`, each with its number of steps from the beginning. `budget` is what
/// may be visited, and shrinks.
pub(super) fn each_point(
    polyline: &[Point],
    area: &Rect,
    budget: &mut u64,
    mut visit: impl FnMut(i32, i32, u64),
) {
    // A figure costs even where nothing of it is seen.
    *budget = budget.saturating_sub(1);
    let mut step = 0;
    for line in polyline.windows(2) {
        let line = Line::new(line[0], line[1]);
        let range = line.range(area);
        let cost = 1 + u64::try_from(range.end - range.start).unwrap_or(0);
        let Some(left) = budget.checked_sub(cost) else { return *budget = 0 };
        *budget = left;
        for index in range {
            let Point { x, y } = line.point(index);
            if x >= area.left && x < area.right && y >= area.top && y < area.bottom {
                visit(x, y, step + u64::try_from(index).unwrap_or(0));
            }
        }
        step += u64::try_from(line.length).unwrap_or(0);
    }
    // Each line leaves its last point to the next one, and a closed figure the very last one to the first.
    if let ([first, ..], Some(last)) = (polyline, polyline.last()) {
        let is_closed = polyline.len() > 2 && first == last;
        let is_inside =
            last.x >= area.left && last.x < area.right && last.y >= area.top && last.y < area.bottom;
        if is_inside && !is_closed {
            visit(last.x, last.y, step);
        }
    }
}

/// Bresenham's line without its last point, each pixel computed from its number.
#[derive(Debug)]
struct Line {
    start: Point,
    /// Steps along the longer side.
    length: i64,
    /// Length of the shorter side.
    width: i64,
    is_steep: bool,
    /// Directions along the longer and the shorter side: 1 or -1.
    signs: (i64, i64),
}

impl Line {
    fn new(start: Point, end: Point) -> Self {
        let (dx, dy) = (i64::from(end.x) - i64::from(start.x), i64::from(end.y) - i64::from(start.y));
        let sign = |length: i64| if length < 0 { -1 } else { 1 };
        let is_steep = dy.abs() >= dx.abs();
        let (long, short) = if is_steep { (dy, dx) } else { (dx, dy) };
        Self { start, length: long.abs(), width: short.abs(), is_steep, signs: (sign(long), sign(short)) }
    }

    /// The numbers of the pixels that `area` may show.
    fn range(&self, area: &Rect) -> std::ops::Range<i64> {
        let (start, first, end) = match self.is_steep {
            true => (self.start.y, area.top, area.bottom),
            false => (self.start.x, area.left, area.right),
        };
        let (start, first, end) = (i64::from(start), i64::from(first), i64::from(end));
        let (from, to) = if self.signs.0 > 0 {
            (first - start, end - start)
        } else {
            (start - end + 1, start - first + 1)
        };
        let from = from.clamp(0, self.length);
        from..to.clamp(from, self.length)
    }

    fn point(&self, index: i64) -> Point {
        // A tie steps when the line goes right or down, and does not when it goes left or up.
        let bias = i64::from(self.signs.0 < 0);
        let length = self.length.max(1);
        let side = (2 * self.width * index + length - bias).div_euclid(2 * length);
        let (along, across) = (self.signs.0 * index, self.signs.1 * side);
        let (dx, dy) = if self.is_steep { (across, along) } else { (along, across) };
        let add = |start: i32, shift: i64| i32::try_from(i64::from(start) + shift).unwrap_or(start);
        Point { x: add(self.start.x, dx), y: add(self.start.y, dy) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{any, prop, proptest};

    use super::*;
    use crate::spice::wire::draw::PathSegment;
    use crate::spice::wire::elements::Elements;

    const AREA: Rect = Rect { left: -50, top: -50, right: 50, bottom: 50 };

    fn point(x: i32, y: i32) -> Point {
        Point { x, y }
    }

    fn pixels(polyline: &[Point], area: &Rect) -> Vec<(i32, i32)> {
        let mut pixels = Vec::new();
        each_point(polyline, area, &mut 100_000, |x, y, _| pixels.push((x, y)));
        pixels
    }

    #[test]
    fn sixteenths_go_to_the_nearest_pixel() {
        assert_eq!([0, 8, 9, 16, 24, 25, -1, -8, -9].map(to_pixel), [0, 0, 1, 1, 1, 2, 0, -1, -1]);
    }

    #[test]
    fn lines_touch_the_pixels_of_bresenham() {
        assert_eq!(pixels(&[point(0, 0), point(3, 0)], &AREA), [(0, 0), (1, 0), (2, 0), (3, 0)]);
        assert_eq!(pixels(&[point(0, 0), point(3, 3)], &AREA), [(0, 0), (1, 1), (2, 2), (3, 3)]);
        // Ties at 1 and 3 step to the right, and on the way back come to the same pixels.
        assert_eq!(pixels(&[point(0, 0), point(4, 2)], &AREA), [(0, 0), (1, 1), (2, 1), (3, 2), (4, 2)]);
        assert_eq!(pixels(&[point(4, 2), point(0, 0)], &AREA), [(4, 2), (3, 2), (2, 1), (1, 1), (0, 0)]);
    }

    #[test]
    fn corners_are_drawn_once_and_closed_figures_end_where_they_begin() {
        let square = [point(0, 0), point(2, 0), point(2, 2), point(0, 2), point(0, 0)];
        let drawn = pixels(&square, &AREA);
        assert_eq!(drawn.len(), 8);
        assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), 8);
        assert_eq!(pixels(&[point(1, 1)], &AREA), [(1, 1)]);
        assert_eq!(pixels(&[point(1, 1), point(1, 1)], &AREA), [(1, 1)]);
    }

    fn attr(flags: u8, style: &[i32]) -> LineAttr<'static> {
        let style = Elements::of(style.iter().map(|length| length * 16));
        LineAttr { flags: flags | LineAttr::STYLED, style: Some(style) }
    }

    /// The lines of a path.
    fn flatten(segments: Vec<PathSegment<'_>>) -> Result<Vec<Vec<Point>>, DrawError> {
        let mut pen = Pen::default();
        // What was drawn before leaves nothing behind.
        let corner = PathSegment { flags: 0, points: Elements::of([point(1, 2), point(3, 4)]) };
        pen.follow(&Path { segments: Elements::of([corner]) }, &attr(0, &[5])).unwrap();
        pen.follow(&Path { segments: Elements::of(segments) }, &attr(0, &[]))?;
        Ok(pen.lines().map(<[Point]>::to_vec).collect())
    }

    fn pattern(attr: &LineAttr<'_>) -> String {
        let mut dashes = Dashes::default();
        dashes.set(attr);
        (0..10).map(|step| if dashes.draws(step) { '#' } else { '.' }).collect()
    }

    #[test]
    fn dashes_and_gaps_alternate() {
        assert_eq!(pattern(&attr(0, &[2, 1])), "##.##.##.#");
        assert_eq!(pattern(&attr(LineAttr::START_WITH_GAP, &[2, 1])), "..#..#..#.");
        assert_eq!(pattern(&attr(0, &[3])), "###...###.", "an odd pattern is its own opposite");
        assert_eq!(pattern(&attr(0, &[0, 0])), "##########");
        assert_eq!(pattern(&LineAttr { flags: 0, style: None }), "##########");
    }

    #[test]
    fn paths_are_figures_of_lines_and_curves() {
        let segment = |flags, points: &[(i32, i32)]| PathSegment {
            flags,
            points: Elements::of(points.iter().map(|(x, y)| point(x * 16, y * 16))),
        };
        let path = |segments| flatten(segments).unwrap();
        let triangle = segment(flag::BEGIN | flag::END | flag::CLOSE, &[(0, 0), (4, 0), (4, 4)]);
        assert_eq!(path(vec![triangle]), [[point(0, 0), point(4, 0), point(4, 4), point(0, 0)]]);
        let two = vec![segment(flag::BEGIN, &[(0, 0), (1, 1)]), segment(flag::BEGIN, &[(5, 5)])];
        assert_eq!(path(two), [vec![point(0, 0), point(1, 1)], vec![point(5, 5)]]);
        let arch = vec![
            segment(flag::BEGIN, &[(0, 0)]),
            segment(flag::BEZIER | flag::END, &[(0, 16), (16, 16), (16, 0)]),
        ];
        let arch = path(arch).remove(0);
        assert_eq!((arch[0], *arch.last().unwrap()), (point(0, 0), point(16, 0)));
        assert!(arch.contains(&point(8, 12)), "the middle of the curve: {arch:?}");
    }

    #[test]
    fn a_path_with_too_many_points_is_refused() {
        let points = Elements::of(vec![Point::default(); (1 << 20) + 1]);
        let error = flatten(vec![PathSegment { flags: 3, points }]);
        assert!(matches!(error, Err(DrawError::Limit { limit: 1_048_576, .. })));
    }

    proptest! {
        #[test]
        fn a_line_is_the_same_both_ways(a in (-40..40, -40..40), b in (-40..40, -40..40)) {
            let (a, b) = (point(a.0, a.1), point(b.0, b.1));
            let mut back = pixels(&[b, a], &AREA);
            back.reverse();
            assert_eq!(pixels(&[a, b], &AREA), back);
        }

        #[test]
        fn an_area_shows_what_the_whole_shows_there(
            points in prop::collection::vec((-60..60, -60..60), 1..5),
            left in -50..50,
            top in -50..50,
            width in 0..60,
            height in 0..60,
        ) {
            let points: Vec<_> = points.into_iter().map(|(x, y)| point(x, y)).collect();
            let area = Rect::new(left, top, width, height);
            let mut whole = pixels(&points, &Rect::new(-100, -100, 200, 200));
            whole.retain(|(x, y)| *x >= left && *x < left + width && *y >= top && *y < top + height);
            assert_eq!(pixels(&points, &area), whole);
        }

        #[test]
        fn far_points_do_not_take_long(points in prop::collection::vec((any::<i32>(), any::<i32>()), 1..20)) {
            let points = Elements::of(points.into_iter().map(|(x, y)| point(x, y)));
            for polyline in flatten(vec![PathSegment { flags: flag::BEZIER, points }]).unwrap() {
                pixels(&polyline, &AREA);
            }
        }
    }
}
