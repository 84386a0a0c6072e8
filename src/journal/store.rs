//! The journal in memory: append, read from a cursor, wait for more.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::event::{Body, Event, Source};
use super::ndjson;

/// A position in one stream: everything up to and including `seq` has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor(pub u64);

/// The journal of one attempt. A clone is another handle to the same journal.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
    /// Whose handle this is, when the attempt has several lanes.
    role: Option<Arc<str>>,
}

#[derive(Debug)]
struct Inner {
    began: Instant,
    /// The `seq` of the newest event; changes wake the waits.
    newest: watch::Sender<u64>,
    /// Why the file cannot be written any more.
    disk_failure: watch::Sender<Option<String>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// INVARIANT: the event with `seq` n is at index n - 1.
    events: Vec<Arc<Event>>,
    /// Of all events.
    streams: Streams,
    /// Of the events that carry no lane, and of those of each lane.
    shares: Vec<Share>,
    disk: Option<ndjson::Writer>,
}

/// Indices into `events`, per stream, ascending.
type Streams = [Vec<usize>; Source::ALL.len()];

/// What was appended through one kind of handle.
#[derive(Debug, Default)]
struct Share {
    role: Option<Arc<str>>,
    streams: Streams,
    dropped: [u64; Source::ALL.len()],
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

impl Journal {
    /// A journal in memory only, whose clock starts now.
    pub fn new() -> Self {
        Self::with_disk(None, watch::Sender::new(None))
    }

    /// A journal that is also written to `path`, line by line, by a thread of its own.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        let disk_failure = watch::Sender::new(None);
        let failed = disk_failure.clone();
        let writer = ndjson::Writer::create(path, move |why| drop(failed.send_replace(Some(why))))?;
        Ok(Self::with_disk(Some(writer), disk_failure))
    }

    fn with_disk(disk: Option<ndjson::Writer>, disk_failure: watch::Sender<Option<String>>) -> Self {
        let (streams, shares) = (Streams::default(), vec![Share::default()]);
        let state = State { events: Vec::new(), streams, shares, disk };
        let newest = watch::Sender::new(0);
        let inner = Inner { began: Instant::now(), newest, disk_failure, state: Mutex::new(state) };
        Self { inner: Arc::new(inner), role: None }
    }

    /// A handle to the same journal for one of several lanes. What is appended through it carries the lane's role, and of
    /// the machines' streams it shows only what does. The streams of the script and of the runner are common to all
    /// handles, and [`Journal::all_after`] gives everything.
    #[must_use]
    pub fn for_lane(&self, role: &str) -> Self {
        let mut state = self.state();
        let share = state.shares.iter().find(|share| share.role.as_deref() == Some(role));
        let role = match share.and_then(|share| share.role.clone()) {
            Some(role) => role,
            None => {
                let role: Arc<str> = role.into();
                state.shares.push(Share { role: Some(Arc::clone(&role)), ..Share::default() });
                role
            }
        };
        Self { inner: Arc::clone(&self.inner), role: Some(role) }
    }

    /// What the scenario calls the lane whose handle this is.
    pub fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    /// When the attempt began: the origin of `t_ns`.
    pub fn began(&self) -> Instant {
        self.inner.began
    }

    /// Appends an event and returns its `seq`. Never blocks on a reader or on the disk.
    ///
    /// A stream that already holds [`STREAM_LIMIT`] events keeps no more; what is dropped is counted and said
    /// by [`Journal::close`]. Returns the newest `seq` then. Each lane has streams of its own.
    pub fn append(&self, source: Source, body: Body) -> u64 {
        let mut state = self.state();
        let (stream, share) = (source as usize, state.share(self.role.as_ref()));
        if state.shares[share].streams[stream].len() >= STREAM_LIMIT {
            state.shares[share].dropped[stream] += 1;
            return state.events.len() as u64;
        }
        let seq = state.push(self.inner.began, source, share, body);
        drop(state);
        self.inner.newest.send_replace(seq);
        seq
    }

    /// Returns the `seq` of the newest event, 0 when there is none.
    pub fn newest(&self) -> u64 {
        *self.inner.newest.borrow()
    }

    /// Returns a receiver that changes with every append.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.inner.newest.subscribe()
    }

    /// Resolves when the journal's file cannot be written any more, with the reason. The journal in memory goes on.
    pub async fn disk_failure(&self) -> String {
        let mut failure = self.inner.disk_failure.subscribe();
        // The sender lives in `self`, so this ends only with a reason.
        let failure = failure.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
        failure.unwrap_or_default()
    }

    /// Why the journal's file lacks what was noted last, if it does.
    pub fn disk_failed(&self) -> Option<String> {
        self.inner.disk_failure.borrow().clone()
    }

    /// Returns the events of `source` after `cursor`, oldest first.
    pub fn after(&self, source: Source, cursor: Cursor) -> Vec<Arc<Event>> {
        self.piece_after(source, cursor, usize::MAX)
    }

    fn piece_after(&self, source: Source, cursor: Cursor, limit: usize) -> Vec<Arc<Event>> {
        let state = self.state();
        let stream = state.stream(source, self.role.as_ref());
        let from = stream.partition_point(|&index| (index as u64) < cursor.0);
        stream[from..].iter().take(limit).map(|&index| Arc::clone(&state.events[index])).collect()
    }

    /// Returns all events of all streams after `cursor`, oldest first.
    pub fn all_after(&self, cursor: Cursor) -> Vec<Arc<Event>> {
        let state = self.state();
        let from = usize::try_from(cursor.0).unwrap_or(usize::MAX).min(state.events.len());
        state.events[from..].to_vec()
    }

    /// Waits for the first event of `source` after `cursor` for which `accept` returns true, moves `cursor` past
    /// it and returns it. Has no deadline of its own: the caller brings one. Cancel safe: the cursor moves only
    /// with a match.
    pub async fn next_match(
        &self,
        source: Source,
        cursor: &mut Cursor,
        mut accept: impl FnMut(&Event) -> bool,
    ) -> Arc<Event> {
        let mut newest = self.watch();
        let mut seen = *cursor;
        loop {
            newest.mark_unchanged();
            // In pieces: a script that waits for one line after the other would copy the whole rest for each.
            loop {
                let piece = self.piece_after(source, seen, PIECE);
                let is_last = piece.len() < PIECE;
                for event in piece {
                    seen = Cursor(event.seq);
                    if accept(&event) {
                        *cursor = seen;
                        return event;
                    }
                }
                if is_last {
                    break;
                }
            }
            // The sender lives in `self`, so this ends only with a change.
            let _ = newest.changed().await;
        }
    }

    /// Waits until `source` has an event and nothing was added to it for `quiet`. Has no deadline of its own.
    /// Cancel safe.
    pub async fn silence(&self, source: Source, quiet: Duration) {
        let mut newest = self.watch();
        loop {
            newest.mark_unchanged();
            let last = {
                let state = self.state();
                let stream = state.stream(source, self.role.as_ref());
                stream.last().map(|&index| state.events[index].at())
            };
            let idle = last.map(|last| self.inner.began.elapsed().saturating_sub(last));
            let Some(rest) = idle.map(|idle| quiet.saturating_sub(idle)) else {
                let _ = newest.changed().await;
                continue;
            };
            if rest.is_zero() {
                return;
            }
            let _ = tokio::time::timeout(rest, newest.changed()).await;
        }
    }

    /// Lets the machine's streams begin anew: what a machine said that was given up stays on record, but no wait and no
    /// oracle sees it any more.
    pub fn forget_machine(&self) {
        let mut state = self.state();
        let State { events, streams, shares, .. } = &mut *state;
        for stream in [Source::Lane, Source::Qmp, Source::Serial, Source::Screen, Source::Digest] {
            let stream = stream as usize;
            match &self.role {
                None => {
                    streams[stream].clear();
                    shares.iter_mut().for_each(|share| share.streams[stream].clear());
                }
                Some(role) => {
                    streams[stream].retain(|&index| events[index].lane.as_ref() != Some(role));
                    let own = shares.iter_mut().filter(|share| share.role.as_ref() == Some(role));
                    own.for_each(|share| share.streams[stream].clear());
                }
            }
        }
    }

    /// Notes what was dropped, then waits until everything is on the disk. Later appends stay in memory.
    pub fn close(&self) {
        let disk = {
            let mut state = self.state();
            for share in 0..state.shares.len() {
                for stream in Source::ALL {
                    let count = std::mem::take(&mut state.shares[share].dropped[stream as usize]);
                    if count > 0 {
                        let body = Body::Dropped { stream, count };
                        state.push(self.inner.began, Source::Runner, share, body);
                    }
                }
            }
            state.disk.take()
        };
        if let Some(disk) = disk {
            disk.finish();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Appending cannot panic half way, so a poisoned journal is still whole.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Which share the events of a handle go to.
    fn share(&self, role: Option<&Arc<str>>) -> usize {
        self.shares.iter().position(|share| share.role.as_ref() == role).unwrap_or_default()
    }

    /// What a handle sees of a stream.
    fn stream(&self, source: Source, role: Option<&Arc<str>>) -> &[usize] {
        match role.filter(|_| source.is_of_lanes()) {
            Some(_) => &self.shares[self.share(role)].streams[source as usize],
            None => &self.streams[source as usize],
        }
    }

    fn push(&mut self, began: Instant, source: Source, share: usize, body: Body) -> u64 {
        let index = self.events.len();
        let seq = index as u64 + 1;
        let t_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let lane = self.shares[share].role.clone();
        let event = Arc::new(Event { seq, t_ns, wall: Timestamp::now(), source, lane, body });
        self.streams[source as usize].push(index);
        self.shares[share].streams[source as usize].push(index);
        if let Some(disk) = &self.disk {
            disk.write(Arc::clone(&event));
        }
        self.events.push(event);
        seq
    }
}

impl Event {
    /// Time since the attempt began.
    pub fn at(&self) -> Duration {
        Duration::from_nanos(self.t_ns)
    }
}

/// How many events of one stream an attempt keeps: a serial flood of an hour, far below a gigabyte.
pub const STREAM_LIMIT: usize = 1_000_000;
/// How many events a wait looks at before it asks for more.
const PIECE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Body {
        Body::SerialLine { text: text.to_owned() }
    }

    fn text(event: &Event) -> &str {
        match &event.body {
            Body::SerialLine { text } => text,
            other => panic!("not a line: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_wait_finds_what_came_before_it_began() {
        let journal = Journal::new();
        journal.append(Source::Serial, line("a"));
        journal.append(Source::Serial, line("b"));
        let mut cursor = Cursor::default();
        let found = journal.next_match(Source::Serial, &mut cursor, |event| text(event) == "b").await;
        assert_eq!((found.seq, cursor), (2, Cursor(2)));
    }

    #[tokio::test]
    async fn two_waits_in_a_row_prove_an_order() {
        let journal = Journal::new();
        journal.append(Source::Serial, line("second"));
        journal.append(Source::Serial, line("first"));
        let mut cursor = Cursor::default();
        journal.next_match(Source::Serial, &mut cursor, |event| text(event) == "first").await;
        assert!(journal.after(Source::Serial, cursor).is_empty(), "`second` lies before the cursor");
    }

    #[tokio::test]
    async fn a_machine_that_was_given_up_is_on_record_and_in_nobodys_way() {
        let journal = Journal::new();
        journal.append(Source::Serial, line("of the first machine"));
        journal.forget_machine();
        journal.append(Source::Serial, line("of the second"));
        let seen = journal.after(Source::Serial, Cursor::default());
        assert_eq!(seen.iter().map(|event| text(event)).collect::<Vec<_>>(), ["of the second"]);
        assert_eq!(journal.all_after(Cursor::default()).len(), 2);
    }

    #[tokio::test]
    async fn a_wait_finds_what_lies_far_behind() {
        let journal = Journal::new();
        (1..=100).for_each(|number| _ = journal.append(Source::Serial, line(&number.to_string())));
        let mut cursor = Cursor::default();
        let found = journal.next_match(Source::Serial, &mut cursor, |event| text(event) == "100").await;
        assert_eq!((found.seq, cursor), (100, Cursor(100)));
    }

    #[tokio::test]
    async fn a_wait_wakes_for_a_later_event_of_its_own_stream() {
        let journal = Journal::new();
        let writer = journal.clone();
        let task = tokio::spawn(async move {
            let mut cursor = Cursor::default();
            journal.next_match(Source::Serial, &mut cursor, |_| true).await.seq
        });
        tokio::task::yield_now().await;
        writer.append(Source::Script, Body::Log { message: "other stream".to_owned() });
        writer.append(Source::Serial, line("now"));
        assert_eq!(task.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn silence_begins_with_the_last_event_of_its_stream() {
        let journal = Journal::new();
        let quiet = Duration::from_millis(30);
        assert!(tokio::time::timeout(quiet * 2, journal.silence(Source::Serial, quiet)).await.is_err());
        journal.append(Source::Serial, line("last"));
        journal.silence(Source::Serial, quiet).await;
        let last = journal.after(Source::Serial, Cursor::default())[0].at();
        assert!(journal.began().elapsed() - last >= quiet);
    }

    #[tokio::test]
    async fn each_lane_has_streams_of_its_own_and_the_script_one_for_all() {
        let journal = Journal::new();
        let (a, b) = (journal.for_lane("a"), journal.for_lane("b"));
        a.append(Source::Serial, line("of a"));
        b.append(Source::Serial, line("of b"));
        journal.append(Source::Serial, line("of nobody"));
        b.append(Source::Script, Body::Log { message: "hello".to_owned() });
        let seen = |journal: &Journal| {
            let events = journal.after(Source::Serial, Cursor::default());
            events.iter().map(|event| text(event).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((seen(&a), seen(&b)), (vec!["of a".to_owned()], vec!["of b".to_owned()]));
        assert_eq!(seen(&journal).len(), 3);
        assert_eq!(a.after(Source::Script, Cursor::default()).len(), 1);
        assert_eq!(a.all_after(Cursor::default()).len(), 4);
        let again = journal.for_lane("b");
        let mut cursor = Cursor::default();
        let found = again.next_match(Source::Serial, &mut cursor, |_| true).await;
        assert_eq!((found.seq, found.lane.as_deref()), (2, Some("b")));
        again.forget_machine();
        assert_eq!((seen(&a).len(), seen(&b).len(), seen(&journal).len()), (1, 0, 2));
        journal.forget_machine();
        assert_eq!((seen(&a).len(), seen(&journal).len()), (0, 0));
    }

    #[test]
    fn a_flood_of_one_lane_leaves_room_for_the_others() {
        let journal = Journal::new();
        let (a, b) = (journal.for_lane("a"), journal.for_lane("b"));
        for _ in 0..=STREAM_LIMIT {
            a.append(Source::Serial, line(""));
        }
        b.append(Source::Serial, line("of b"));
        assert_eq!(b.after(Source::Serial, Cursor::default()).len(), 1);
        journal.close();
        let last = journal.all_after(Cursor(journal.all_after(Cursor::default()).len() as u64 - 1)).remove(0);
        assert!(matches!(last.body, Body::Dropped { stream: Source::Serial, count: 1 }), "{last:?}");
        assert_eq!(last.lane.as_deref(), Some("a"));
    }

    #[test]
    fn what_is_on_disk_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.ndjson");
        let journal = Journal::create(&path).unwrap();
        journal.append(Source::Serial, line("hello"));
        journal.append(Source::Keyboard, Body::KeySent { code: 28, key: None, action: "down".to_owned() });
        journal.close();
        let events = ndjson::load(&path).unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(text(&events[0]), "hello");
        assert_eq!(events[1].body.name(), "key_sent");
    }
}
