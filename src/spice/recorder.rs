//! Writes recordings while sessions run: channels append to a buffer, a thread of its own packs it and writes it.
//!
//! Nothing here makes a session wait. A disk that does not keep up, or is full, ends the recording: the file stays
//! readable up to there, and [`Recorder::finish`] says what was wrong.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flate2::Compression;
use thiserror::Error;

use super::recording::{BLOCK_BYTES, Encoder, Entry, Fact, SessionFacts, encode_block, encode_file_header};
use super::wire::Message as _;
use super::wire::base::List;
use super::wire::header::{Frame, HeaderForm};
use super::wire::link::{Capabilities, ChannelId};
use super::wire::main::AgentData;

/// What to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecorderOptions {
    /// Whether what the guest's agent says is kept, such as the text of its clipboard. Default: no, only that it spoke.
    pub keeps_agent_data: bool,
}

/// Why there is no recording, or not all of one.
#[derive(Debug, Error)]
pub enum RecorderError {
    /// The file cannot be made.
    #[error("make the recording {path:?}")]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("write the recording {path:?}, which is whole up to offset {offset}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Bytes that were written before.
        offset: u64,
        /// What the system says.
        source: io::Error,
    },
    /// More arrives than the disk takes.
    #[error("the recording {path:?} ends early: {waiting} bytes were waiting for the disk, limit is {limit}")]
    Behind {
        /// The file.
        path: PathBuf,
        /// Bytes that were waiting.
        waiting: usize,
        /// How many may wait.
        limit: usize,
    },
    /// The disk does not answer.
    #[error("the recording {path:?} is not written within {after:?}")]
    Stuck {
        /// The file.
        path: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
}

/// A recording being made; clones add to the same one. It ends with [`finish`](Self::finish), or with the last clone.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
    began: Instant,
    options: RecorderOptions,
    _end: Arc<EndOnDrop>,
}

impl Recorder {
    /// Makes the file, or empties it, and begins.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn create(path: &Path, options: RecorderOptions) -> Result<Self, RecorderError> {
        Self::create_limited(path, options, WAITING_LIMIT)
    }

    fn create_limited(path: &Path, options: RecorderOptions, limit: usize) -> Result<Self, RecorderError> {
        let failed = |source| RecorderError::Create { path: path.to_owned(), source };
        let mut file = File::create(path).map_err(failed)?;
        let header = encode_file_header();
        file.write_all(&header).map_err(failed)?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            limit,
            state: Mutex::default(),
            changed: Condvar::new(),
            idle: Condvar::new(),
        });
        let writer = Writer { shared: Arc::clone(&shared), file, offset: length(header.len()) };
        std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || writer.run())
            .map_err(failed)?;
        let _end = Arc::new(EndOnDrop(Arc::clone(&shared)));
        Ok(Self { shared, began: Instant::now(), options, _end })
    }

    /// Ends the recording, and waits until it is on the disk. What is recorded afterwards is lost. Blocks for as long
    /// as ten seconds.
    ///
    /// # Errors
    /// Not everything was written.
    pub fn finish(&self) -> Result<(), RecorderError> {
        let mut state = self.shared.state();
        state.is_ending = true;
        self.shared.changed.notify_all();
        let idle = self.shared.idle.wait_timeout_while(state, PATIENCE, |state| !state.is_done);
        let (mut state, waited) = idle.unwrap_or_else(PoisonError::into_inner);
        match state.failure.take() {
            Some(failure) => Err(failure),
            None if waited.timed_out() => {
                Err(RecorderError::Stuck { path: self.shared.path.clone(), after: PATIENCE })
            }
            None => Ok(()),
        }
    }

    pub(super) fn session(&self, facts: SessionFacts) {
        self.add(Instant::now(), Fact::Session(facts));
    }

    pub(super) fn opened(&self, channel: ChannelId, common: &Capabilities, channel_caps: &Capabilities) {
        let (common, channel_caps) = (common.clone(), channel_caps.clone());
        self.add(Instant::now(), Fact::Opened { channel, form: HeaderForm::Mini, common, channel_caps });
    }

    pub(super) fn share_window(&self) {
        self.add(Instant::now(), Fact::SharedWindow);
    }

    pub(super) fn hold_screen(&self, holds: bool) {
        self.add(Instant::now(), Fact::HoldScreen(holds));
    }

    fn add(&self, at: Instant, fact: Fact<'_>) {
        let at = at.saturating_duration_since(self.began);
        self.shared.add(&Entry { at, fact });
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

/// The recorder's place in one channel. Dropping it says that the channel has ended.
#[derive(Debug)]
pub(super) struct Tap {
    recorder: Recorder,
    channel: ChannelId,
}

impl Tap {
    pub(super) fn new(recorder: &Recorder, channel: ChannelId) -> Self {
        Self { recorder: recorder.clone(), channel }
    }

    /// Adds a message.
    pub(super) fn message(&self, at: Instant, frame: Frame<'_>) {
        let channel = self.channel;
        let fact = match self.recorder.options.keeps_agent_data || !may_hold_agent_data(channel, frame) {
            true => Fact::Message { channel, frame },
            false => {
                let size = u32::try_from(frame.body.len()).unwrap_or(u32::MAX);
                Fact::Withheld { channel, kind: frame.kind, size }
            }
        };
        self.recorder.add(at, fact);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.recorder.add(Instant::now(), Fact::Closed { channel: self.channel });
    }
}

/// Lists may carry words of the agent as sub-messages.
fn may_hold_agent_data(channel: ChannelId, frame: Frame<'_>) -> bool {
    let may_hold = frame.kind == AgentData::KIND || frame.kind == List::KIND || frame.sub_list != 0;
    channel == ChannelId::MAIN && may_hold
}

struct Shared {
    path: PathBuf,
    /// Bytes that may wait for the disk.
    limit: usize,
    state: Mutex<State>,
    /// There is something to write, or nothing more will come.
    changed: Condvar,
    /// The writer has ended.
    idle: Condvar,
}

#[derive(Default)]
struct State {
    encoder: Encoder,
    /// Entries that wait for the disk.
    waiting: Vec<u8>,
    is_ending: bool,
    is_done: bool,
    failure: Option<RecorderError>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, entry: &Entry<'_>) {
        let state = &mut *self.state();
        if state.is_ending {
            return;
        }
        let before = state.waiting.len();
        state.encoder.encode(entry, &mut state.waiting);
        let waiting = state.waiting.len();
        if waiting > self.limit && before > 0 {
            let (path, limit) = (self.path.clone(), self.limit);
            state.failure.get_or_insert(RecorderError::Behind { path, waiting, limit });
            state.is_ending = true;
            // What waits is still written, up to the last entry that had room.
            state.waiting.truncate(before);
        }
        if before == 0 || waiting >= BLOCK_BYTES || state.is_ending {
            self.changed.notify_all();
        }
    }
}

/// Ends the writer when nobody records any more.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.state().is_ending = true;
        self.0.changed.notify_all();
    }
}

struct Writer {
    shared: Arc<Shared>,
    file: File,
    offset: u64,
}

impl Writer {
    fn run(mut self) {
        let mut piece = Vec::new();
        let result = loop {
            let is_last = self.collect(&mut piece);
            if let Err(error) = self.write(&piece) {
                break Err(error);
            }
            piece.clear();
            // A burst need not be remembered by the memory it took.
            piece.shrink_to(4 * BLOCK_BYTES);
            if is_last {
                break Ok(());
            }
        };
        let mut state = self.shared.state();
        state.is_ending = true;
        state.is_done = true;
        state.waiting = Vec::new();
        if let Err(source) = result {
            let (path, offset) = (self.shared.path.clone(), self.offset);
            state.failure = Some(RecorderError::Write { path, offset, source });
        }
        self.shared.idle.notify_all();
    }

    /// Waits for entries, and then for a moment for more of them. True when there will be no more.
    fn collect(&self, piece: &mut Vec<u8>) -> bool {
        let shared = &self.shared;
        let state = shared.changed.wait_while(shared.state(), |s| s.waiting.is_empty() && !s.is_ending);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let more = shared
            .changed
            .wait_timeout_while(state, FLUSH, |s| s.waiting.len() < BLOCK_BYTES && !s.is_ending);
        let state = &mut *more.unwrap_or_else(PoisonError::into_inner).0;
        if state.is_ending && state.failure.is_none() {
            // Times are never behind the entry before.
            let end = Entry { at: Duration::ZERO, fact: Fact::End };
            state.encoder.encode(&end, &mut state.waiting);
        }
        std::mem::swap(&mut state.waiting, piece);
        state.is_ending
    }

    fn write(&mut self, stream: &[u8]) -> io::Result<()> {
        // Who is behind does not try to save room.
        let level = if stream.len() > 4 * BLOCK_BYTES { Compression::fast() } else { Compression::default() };
        let mut block = Vec::new();
        for piece in stream.chunks(BLOCK_BYTES) {
            block.clear();
            encode_block(piece, level, &mut block);
            self.file.write_all(&block)?;
            self.offset += length(block.len());
        }
        Ok(())
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// How long entries wait for others that share their block; what a killed run loses.
const FLUSH: Duration = Duration::from_millis(250);
/// How long the disk may take for what is left at the end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of entries that may wait for the disk: four seconds of whole 4K screens at one a second.
const WAITING_LIMIT: usize = 128 << 20;

#[cfg(test)]
mod tests {
    use super::super::recording::Reader;
    use super::super::wire::link::ChannelType;
    use super::*;

    const DISPLAY: ChannelId = ChannelId { channel_type: ChannelType::DISPLAY, id: 0 };

    fn entries(path: &Path) -> (Vec<String>, bool) {
        let bytes = std::fs::read(path).unwrap();
        let mut reader = Reader::open(bytes.as_slice()).unwrap();
        let mut seen = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            seen.push(format!("{:?}", entry.fact));
        }
        let is_ended = reader.is_ended();
        (seen, is_ended)
    }

    fn message(kind: u16, body: &[u8]) -> Frame<'_> {
        Frame { kind, sub_list: 0, body }
    }

    #[test]
    fn what_was_recorded_is_on_the_disk_and_words_of_the_agent_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for (keeps_agent_data, wanted) in [(false, 0), (true, 2)] {
            let path = folder.path().join("a.rec");
            let recorder = Recorder::create(&path, RecorderOptions { keeps_agent_data }).unwrap();
            recorder.session(SessionFacts { image_cache_pixels: 1, glz_window_pixels: 2 });
            let main = Tap::new(&recorder, ChannelId::MAIN);
            main.message(Instant::now(), message(AgentData::KIND, b"clipboard"));
            main.message(Instant::now(), message(List::KIND, b"clipboard"));
            drop(main);
            let display = Tap::new(&recorder, DISPLAY);
            display.message(Instant::now(), message(AgentData::KIND, b"pixels"));
            recorder.finish().unwrap();
            let (seen, is_ended) = entries(&path);
            assert!(is_ended);
            assert_eq!(seen.len(), 6, "{seen:#?}");
            let words = format!("{:?}", b"clipboard");
            assert_eq!(seen.iter().filter(|entry| entry.contains(&words)).count(), wanted, "{seen:#?}");
            assert!(seen[4].contains(&format!("{:?}", b"pixels")));
        }
    }

    #[test]
    fn a_recording_is_readable_while_it_is_made_and_ends_with_its_last_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.rec");
        let recorder = Recorder::create(&path, RecorderOptions::default()).unwrap();
        assert_eq!(entries(&path), (Vec::new(), false));
        recorder.session(SessionFacts { image_cache_pixels: 1, glz_window_pixels: 2 });
        let deadline = Instant::now() + PATIENCE;
        while entries(&path).0.is_empty() {
            assert!(Instant::now() < deadline, "nothing is flushed");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!entries(&path).1);
        drop(recorder);
        while !entries(&path).1 {
            assert!(Instant::now() < deadline, "it has no end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_full_disk_is_an_error_and_nobody_waits_for_it() {
        let recorder = match Recorder::create(Path::new("/dev/full"), RecorderOptions::default()) {
            Ok(recorder) => recorder,
            Err(error) => return assert!(error.to_string().contains("/dev/full"), "{error}"),
        };
        panic!("{recorder:?}");
    }

    #[test]
    fn a_file_that_takes_no_more_and_a_disk_that_is_too_slow_are_errors() {
        // A pipe nobody reads takes 64 KiB and then no more.
        let (reader, writer) = io::pipe().unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer)));
        let limit = 1 << 20;
        let recorder = Recorder::create_limited(&path, RecorderOptions::default(), limit).unwrap();
        let tap = Tap::new(&recorder, DISPLAY);
        let noise: Vec<u8> =
            (0..1_u32 << 20).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes()).collect();
        for piece in noise.chunks(1 << 18).cycle().take(40) {
            tap.message(Instant::now(), message(304, piece));
        }
        drop(reader);
        let error = recorder.finish().unwrap_err();
        let is_told = matches!(error, RecorderError::Behind { .. } | RecorderError::Write { .. });
        assert!(is_told, "{error}");
    }
}
