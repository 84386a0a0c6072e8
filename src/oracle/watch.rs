//! The small task that feeds the digest judge: console events in, journal events out. Driven by draws, never by
//! polling.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use visual_digest::framebuffer_hash;

use super::digest::{DigestReader, DigestWatch, Match, Sighting, WatchEvent};
use super::records::{Before, new_records};
use crate::console::agent::{AgentEvent, Selection, capability_names, hash};
use crate::console::{Area, Console, ConsoleEvent, ConsoleListener, LockLights};
use crate::journal::{Body, Cursor, Event, Journal, ObservedDigest, Source};

/// Where digests come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digests {
    /// From nowhere.
    Ignored,
    /// From every change of the screen.
    OnScreen,
    /// The console tells those that are new from now on. The one that is on the screen already is read from a picture.
    Told,
}

/// Notes a console's events in the journal until the console closes. The listener, if there is one, hears all of it as
/// it happens.
pub fn spawn(
    console: Arc<dyn Console>,
    events: mpsc::UnboundedReceiver<ConsoleEvent>,
    journal: Journal,
    digests: Digests,
    listener: Option<Arc<dyn ConsoleListener>>,
) -> JoinHandle<()> {
    if let Some(listener) = &listener {
        listener.handle_console(&console);
    }
    let digest = (digests == Digests::OnScreen).then(DigestWatch::new);
    let watcher = Watcher {
        console,
        journal,
        listener,
        digest,
        is_told: digests == Digests::Told,
        first_look: None,
        last_told: None,
        look_is_fresh: None,
        before: Before::default(),
        lane_cursor: Cursor::default(),
        is_put_back: false,
        draws: BTreeMap::new(),
        batch: 0,
    };
    if digests == Digests::OnScreen {
        // No digest may be painted over before it was seen.
        watcher.console.look_up_to(Some(0));
    }
    tokio::spawn(watcher.run(events))
}

struct Watcher {
    console: Arc<dyn Console>,
    journal: Journal,
    listener: Option<Arc<dyn ConsoleListener>>,
    digest: Option<DigestWatch>,
    /// Whether the console tells digests.
    is_told: bool,
    /// The look for the digest that was on the screen before the console told any.
    first_look: Option<JoinHandle<Option<(ObservedDigest, bool)>>>,
    /// The frame counter of the last digest that was told, or found by the first look.
    last_told: Option<u32>,
    /// Until when a digest that is told may be older than the one that the first look found.
    look_is_fresh: Option<Instant>,
    /// What is known of the digest before, within the same boot.
    before: Before,
    /// Up to where the machine's own events were looked at.
    lane_cursor: Cursor,
    /// Whether the machine was put back and nothing was seen of it since.
    is_put_back: bool,
    /// Draws not yet in the journal, by surface.
    draws: BTreeMap<u32, Draws>,
    /// The last batch of draws that was taken note of.
    batch: u64,
}

struct Draws {
    count: u32,
    area: Area,
    due: Instant,
}

impl Watcher {
    async fn run(mut self, mut events: mpsc::UnboundedReceiver<ConsoleEvent>) {
        loop {
            let due = self.due();
            let is_due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            let looks = self.first_look.is_some();
            let first_look = &mut self.first_look;
            let is_put_back = |event: &Event| matches!(event.body, Body::PutBack { .. });
            // Cancel safety: an event is taken whole or not at all, and the cursor moves only with a match.
            let event = tokio::select! {
                biased;
                event = self.journal.next_match(Source::Lane, &mut self.lane_cursor, is_put_back) => {
                    self.handle_put_back(&event);
                    continue;
                }
                event = events.recv() => event,
                found = async { first_look.as_mut()?.await.ok().flatten() }, if looks => {
                    self.first_look = None;
                    self.handle_first_look(found);
                    continue;
                }
                () = is_due => {
                    self.handle_timeout(Instant::now());
                    continue;
                }
            };
            let Some(event) = event else { break };
            // What is waiting already is one batch: the surface holds all of it.
            let mut drawn = self.handle_event(event);
            let mut closed = false;
            for _ in 0..BATCH {
                match events.try_recv() {
                    Ok(event) => drawn = union(drawn, self.handle_event(event)),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => {
                        closed = true;
                        break;
                    }
                }
            }
            if let Some(area) = drawn {
                self.look(|watch, now, frame| watch.handle_draw(now, frame, area));
            }
            if self.digest.is_some() {
                self.console.look_up_to(Some(self.batch));
            }
            self.flush_draws(|draws, now| draws.due <= now);
            if closed {
                break;
            }
        }
        self.flush_draws(|_, _| true);
    }

    /// Returns the changed part of the screen.
    fn handle_event(&mut self, event: ConsoleEvent) -> Option<Area> {
        if let Some(listener) = &self.listener {
            listener.handle_event(&event);
        }
        let body = match event {
            ConsoleEvent::Drawn { surface_id, primary, area, draws, batch, .. } => {
                self.batch = batch;
                self.note_draw(surface_id, area, draws);
                return primary.then_some(area);
            }
            ConsoleEvent::SurfaceCreated { surface_id, primary, width, height } => {
                if self.is_told && primary && self.last_told.is_none() && self.first_look.is_none() {
                    self.first_look = Some(tokio::spawn(first_digest(Arc::clone(&self.console))));
                }
                if let Some(digest) = self.digest.as_mut().filter(|_| primary) {
                    digest.handle_surface_reset();
                }
                self.flush_draws(|_, _| true);
                Body::SurfaceCreated { surface_id, width, height }
            }
            ConsoleEvent::SurfaceDestroyed { surface_id } => {
                self.flush_draws(|_, _| true);
                Body::SurfaceDestroyed { surface_id }
            }
            // What measures is no evidence.
            ConsoleEvent::Pinged { .. } | ConsoleEvent::InputRoundTrip { .. } => return None,
            ConsoleEvent::Digest(digest) => {
                if self.is_told {
                    self.note_told(digest);
                }
                return None;
            }
            ConsoleEvent::Connected { channels } => Body::ConsoleConnected { channels },
            ConsoleEvent::Lights(LockLights { caps, num, scroll }) => {
                self.journal.append(Source::Keyboard, Body::KeyboardLeds { caps, num, scroll });
                return None;
            }
            ConsoleEvent::Agent(event) => {
                self.journal.append(Source::Agent, agent_body(event));
                return None;
            }
            ConsoleEvent::Notice { text } => Body::ConsoleNotice { text },
            ConsoleEvent::Closed { reason } => {
                self.flush_draws(|_, _| true);
                Body::ConsoleClosed { reason }
            }
        };
        self.journal.append(Source::Screen, body);
        None
    }

    fn note_draw(&mut self, surface_id: u32, area: Area, count: u32) {
        let new = || Draws { count: 0, area, due: Instant::now() + COALESCE };
        let draws = self.draws.entry(surface_id).or_insert_with(new);
        draws.count = draws.count.saturating_add(count);
        draws.area = draws.area.union(area);
    }

    fn flush_draws(&mut self, is_due: impl Fn(&Draws, Instant) -> bool) {
        let now = Instant::now();
        let journal = &self.journal;
        self.draws.retain(|&surface_id, draws| {
            if !is_due(draws, now) {
                return true;
            }
            let Area { left, top, right, bottom } = draws.area;
            let area = [left, top, right, bottom];
            journal.append(Source::Screen, Body::SurfaceDrawn { surface_id, draws: draws.count, area });
            false
        });
    }

    fn due(&self) -> Option<Instant> {
        let draws = self.draws.values().map(|draws| draws.due).min();
        let digest = self.digest.as_ref().and_then(DigestWatch::poll_timeout);
        [draws, digest].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.flush_draws(|draws, now| draws.due <= now);
        if self.digest.as_ref().and_then(DigestWatch::poll_timeout).is_some_and(|due| due <= now) {
            self.look(|watch, now, frame| watch.handle_timeout(now, frame));
        }
    }

    /// Shows the screen to the digest judge.
    fn look(
        &mut self,
        judge: impl Fn(&mut DigestWatch, Instant, visual_digest::Frame<'_>) -> Option<WatchEvent>,
    ) {
        let Some(digest) = self.digest.as_mut() else { return };
        let mut found = None;
        let visible = self.console.with_screen(&mut |frame| found = judge(digest, Instant::now(), frame));
        if !visible {
            // Between two surfaces there is nothing to look at, and nothing may stay due.
            digest.handle_surface_reset();
        }
        match found {
            None => {}
            Some(WatchEvent::Sighting(sighting)) => self.note_sighting(sighting),
            Some(WatchEvent::Verdict(verdict)) => {
                let framebuffer = match_name(verdict.framebuffer).to_owned();
                let body = Body::DigestFramebuffer { frame_counter: verdict.frame_counter, framebuffer };
                self.journal.append(Source::Digest, body);
            }
            Some(WatchEvent::NotADigest(error)) => {
                let text = format!("a symbol on the screen is not a digest: {error}");
                self.journal.append(Source::Screen, Body::ConsoleNotice { text });
            }
        }
    }

    /// What the screen of a machine that was put back shows is news, the records it showed before are not.
    fn handle_put_back(&mut self, event: &Event) {
        let Body::PutBack { snapshot, hashes } = &event.body else { return };
        self.before = Before { hashes: *hashes, window: Vec::new() };
        self.is_put_back = true;
        (self.last_told, self.look_is_fresh) = (None, None);
        if let Some(look) = self.first_look.take() {
            look.abort();
        }
        let Some(digest) = self.digest.as_mut() else { return };
        if snapshot.is_none() {
            return digest.handle_reset();
        }
        digest.handle_put_back();
        let everything = Area { left: 0, top: 0, right: u32::MAX, bottom: u32::MAX };
        self.look(|watch, now, frame| watch.handle_draw(now, frame, everything));
    }

    fn note_sighting(&mut self, sighting: Sighting) {
        let framebuffer = match_name(sighting.framebuffer);
        self.note_digest(sighting.digest.into(), framebuffer, sighting.restarted);
    }

    /// Takes note of a digest whose pixels nobody has looked at.
    fn note_told(&mut self, digest: ObservedDigest) {
        let fresh = self.look_is_fresh.filter(|until| Instant::now() < *until).and(self.last_told);
        if fresh.and_then(|found| found.checked_sub(digest.frame_counter)).is_some_and(|age| age <= OVERTAKEN)
        {
            // The server was still reading it when the picture went out.
            return;
        }
        self.look_is_fresh = None;
        let restarted =
            self.last_told.replace(digest.frame_counter).is_some_and(|last| digest.frame_counter <= last);
        self.note_digest(digest, UNKNOWN, restarted);
    }

    /// The console may have told a newer one meanwhile; then this one is of the past.
    fn handle_first_look(&mut self, found: Option<(ObservedDigest, bool)>) {
        let Some((digest, matches)) = found.filter(|_| self.last_told.is_none()) else { return };
        self.last_told = Some(digest.frame_counter);
        self.look_is_fresh = Some(Instant::now() + FRESH);
        self.note_digest(digest, if matches { match_name(Match::Matches) } else { UNKNOWN }, false);
    }

    fn note_digest(&mut self, mut digest: ObservedDigest, framebuffer: &str, mut restarted: bool) {
        if restarted {
            self.before = Before::default();
        }
        restarted |= std::mem::take(&mut self.is_put_back);
        // It stays in the journal.
        digest.raw_records.shrink_to_fit();
        let digest = Arc::new(digest);
        let new = new_records(&self.before, &digest);
        if new.may_have_missed {
            let text = format!(
                "digest {}: it shares no record with the digest before, so others may have come and gone unseen",
                digest.frame_counter
            );
            self.journal.append(Source::Screen, Body::ConsoleNotice { text });
        }
        self.before = Before { hashes: digest.channel_hashes, window: digest.raw_records.clone() };
        self.journal.append(
            Source::Digest,
            Body::DigestUpdated {
                digest: Arc::clone(&digest),
                framebuffer: framebuffer.to_owned(),
                new_records: new.count,
                missed: new.missed.iter().map(|channel| channel.name().to_owned()).collect(),
                restarted,
            },
        );
        for &record in &digest.raw_records[digest.raw_records.len() - new.count..] {
            let body = Body::DigestRecord { record, frame_counter: digest.frame_counter };
            self.journal.append(Source::Digest, body);
        }
        // Whoever answers it answers what the journal has by then.
        if let Some(listener) = &self.listener {
            listener.handle_digest(&digest);
        }
    }
}

/// Looks for the digest on a console's screen, and whether the screen around it is the one it vouches for. A few times:
/// the picture may be one of a screen that is just being drawn.
async fn first_digest(console: Arc<dyn Console>) -> Option<(ObservedDigest, bool)> {
    for _ in 0..FIRST_LOOKS {
        console.refreshed().await;
        let looking = Arc::clone(&console);
        let looked = tokio::task::spawn_blocking(move || {
            let mut found = None;
            looking.with_screen(&mut |frame| {
                let read = DigestReader::read(frame).ok().map(|reading| reading.digest);
                let matches = |hash: u32| framebuffer_hash(frame) == hash;
                found = read.map(|digest| (matches(digest.framebuffer_hash), digest));
            });
            found
        });
        if let Ok(Some((matches, digest))) = looked.await {
            return Some((digest.into(), matches));
        }
        tokio::time::sleep(FIRST_LOOK_AGAIN).await;
    }
    None
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.console.look_up_to(None);
        if let Some(look) = &self.first_look {
            look.abort();
        }
    }
}

fn union(a: Option<Area>, b: Option<Area>) -> Option<Area> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.union(b)),
        (one, other) => one.or(other),
    }
}

fn agent_body(event: AgentEvent) -> Body {
    let state = |state: &str, capabilities| Body::AgentState { state: state.to_owned(), capabilities };
    let clipboard = |action: &str, selection: Selection, kinds, bytes, hash, why| Body::Clipboard {
        action: action.to_owned(),
        selection: selection.to_string(),
        kinds,
        bytes,
        hash,
        why,
    };
    let count = |bytes: usize| Some(u64::try_from(bytes).unwrap_or(u64::MAX));
    match event {
        AgentEvent::Connected => state("connected", Vec::new()),
        AgentEvent::Announced(capabilities) => state("announced", capability_names(&capabilities)),
        AgentEvent::Disconnected => state("disconnected", Vec::new()),
        AgentEvent::Offered { selection, kinds } => {
            let kinds = kinds.iter().map(ToString::to_string).collect();
            clipboard("offered", selection, kinds, None, None, None)
        }
        AgentEvent::Withdrawn { selection } => {
            clipboard("withdrawn", selection, Vec::new(), None, None, None)
        }
        AgentEvent::Fetched { selection, data: Ok(data) } => {
            clipboard("fetched", selection, Vec::new(), count(data.len()), Some(hash(&data)), None)
        }
        AgentEvent::Fetched { selection, data: Err(why) } => {
            clipboard("not_fetched", selection, Vec::new(), None, None, Some(why.to_string()))
        }
        AgentEvent::Taken { selection, bytes } => {
            clipboard("taken", selection, Vec::new(), count(bytes), None, None)
        }
        AgentEvent::Replied { to, is_done } => Body::AgentReplied { to, is_done },
    }
}

fn match_name(found: Match) -> &'static str {
    match found {
        Match::Matches => "matches",
        Match::Unsettled => "unsettled",
        Match::Differs => "differs",
    }
}

/// Of a digest's pixels, when nobody looked at them.
const UNKNOWN: &str = "unknown";
/// How often the screen is searched for the digest that was there before the console told any; what comes later is told.
const FIRST_LOOKS: u32 = 10;
/// For a digest that a server was reading while it sent the picture on which a newer one was found, and how much newer.
const FRESH: Duration = Duration::from_secs(2);
const OVERTAKEN: u32 = 20;
const FIRST_LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Draws within this time are one event in the journal.
const COALESCE: Duration = Duration::from_millis(10);
/// Events handled before the screen is looked at, so that a flood cannot hide a digest for ever.
const BATCH: usize = 256;
