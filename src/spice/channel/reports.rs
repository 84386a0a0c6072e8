//! What the server is told about the frames of its streams, where it asks.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::spice::wire::display::StreamActivateReport;
use crate::spice::wire::display::client::StreamReport;

/// The reports that were asked for, by stream.
#[derive(Debug, Default)]
pub(super) struct StreamReports {
    asked: HashMap<u32, Report>,
}

#[derive(Debug)]
struct Report {
    unique_id: u32,
    max_frames: u32,
    max_age: Duration,
    window: Option<Window>,
}

/// The frames since the last report.
#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    start_mm_time: u32,
    frames: u32,
}

impl StreamReports {
    /// The server wants reports. The caller has checked that the stream exists.
    pub(super) fn activate(&mut self, message: &StreamActivateReport) {
        let report = Report {
            unique_id: message.unique_id,
            max_frames: message.max_window_size.max(1),
            max_age: Duration::from_millis(message.timeout_ms.into()),
            window: None,
        };
        self.asked.insert(message.stream_id, report);
    }

    pub(super) fn forget(&mut self, stream_id: u32) {
        self.asked.remove(&stream_id);
    }

    pub(super) fn forget_all(&mut self) {
        self.asked.clear();
    }

    /// Counts a frame that was shown. A report is due after the number of frames that the server named, or with the
    /// first frame after the time it named.
    pub(super) fn count_frame(&mut self, stream_id: u32, mm_time: u32, now: Instant) -> Option<StreamReport> {
        let report = self.asked.get_mut(&stream_id)?;
        let new = Window { since: now, start_mm_time: mm_time, frames: 0 };
        let window = report.window.get_or_insert(new);
        window.frames += 1;
        let is_old = now.saturating_duration_since(window.since) >= report.max_age;
        if window.frames < report.max_frames && !(is_old && window.frames > 1) {
            return None;
        }
        let Window { start_mm_time, frames, .. } = *window;
        report.window = None;
        Some(StreamReport {
            stream_id,
            unique_id: report.unique_id,
            start_frame_mm_time: start_mm_time,
            end_frame_mm_time: mm_time,
            num_frames: frames,
            num_drops: 0,
            // Frames are shown as they come, so none is late and nothing needs to be sent earlier.
            last_frame_delay: 0,
            audio_delay: StreamReport::NO_AUDIO,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activated(max_window_size: u32, timeout_ms: u32) -> StreamReports {
        let mut reports = StreamReports::default();
        reports.activate(&StreamActivateReport { stream_id: 4, unique_id: 9, max_window_size, timeout_ms });
        reports
    }

    #[test]
    fn a_report_follows_as_many_frames_as_were_asked_for() {
        let (mut reports, now) = (activated(3, 1000), Instant::now());
        for start in [100, 400] {
            assert_eq!(reports.count_frame(4, start, now), None);
            assert_eq!(reports.count_frame(4, start + 10, now), None);
            let report = reports.count_frame(4, start + 20, now).unwrap();
            assert_eq!((report.stream_id, report.unique_id), (4, 9));
            assert_eq!((report.start_frame_mm_time, report.end_frame_mm_time), (start, start + 20));
            assert_eq!((report.num_frames, report.num_drops), (3, 0));
        }
    }

    #[test]
    fn a_report_follows_after_the_time_that_was_asked_for() {
        let (mut reports, now) = (activated(100, 1000), Instant::now());
        assert_eq!(reports.count_frame(4, 0, now), None);
        assert_eq!(reports.count_frame(4, 1, now + Duration::from_millis(999)), None);
        let report = reports.count_frame(4, 2, now + Duration::from_millis(1000)).unwrap();
        assert_eq!(report.num_frames, 3);
    }

    #[test]
    fn streams_without_a_wish_are_not_reported() {
        let mut reports = activated(1, 0);
        assert!(reports.count_frame(4, 0, Instant::now()).is_some());
        assert_eq!(reports.count_frame(5, 0, Instant::now()), None);
        reports.forget(4);
        assert_eq!(reports.count_frame(4, 0, Instant::now()), None);
    }
}
