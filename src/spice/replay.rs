//! A recording through the same state machines that a session has, without a network.
//!
//! INVARIANT: pure. [`Player`] is fed the entries of a [`Reader`] one by one; what the
//! channels want to send goes nowhere.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};

use super::channel::{
    ChannelError, Counters, CursorChannel, DisplayChannel, DisplayEvent, DisplayOptions, Hold, InputsChannel,
    Machine, MainChannel,
};
use super::codec::glz;
use super::limits::Limits;
use super::recording::{Entry, Fact, ReadError, Reader, SessionFacts};
use super::surface::Surface;
use super::wire::header::Frame;
use super::wire::link::{Capabilities, ChannelId, ChannelType};

/// Plays recordings.
#[derive(Debug)]
pub struct Player {
    /// The moment at which the recording began, in this life.
    start: Instant,
    session: SessionFacts,
    /// Of all displays of the session, where they share it.
    dictionary: Option<glz::Dictionary>,
    sessions: u64,
    channels: BTreeMap<ChannelId, Channel>,
    summary: BTreeMap<ChannelId, ChannelSummary>,
    length: Duration,
}

/// What became of a channel, in all sessions together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelSummary {
    /// What its state machines counted.
    pub counters: Counters,
    /// Messages whose bodies were not recorded.
    pub withheld: u64,
    /// Messages of channels that nobody here knows, or behind the one that ended the channel.
    pub unread: u64,
    /// Why it ended early.
    pub errors: Vec<String>,
}

/// What an entry changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing that can be seen.
    Nothing,
    /// Pixels of a screen, or which screens there are.
    Screens,
}

/// Plays a recording to its end, and calls `settled` for every screen that nobody drew on for `pause` of recorded time,
/// with the time at which it was drawn, and for the last.
///
/// # Errors
/// The recording cannot be read on; all that came before was played.
pub fn play_settling<R: Read>(
    player: &mut Player,
    reader: &mut Reader<R>,
    pause: Duration,
    mut settled: impl FnMut(Duration, &Player),
) -> Result<(), ReadError> {
    let mut drawn = None;
    let result = loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        if let Some(at) = drawn.take_if(|at| entry.at.saturating_sub(*at) >= pause) {
            settled(at, player);
        }
        let at = entry.at;
        if player.play(&entry) == Change::Screens {
            drawn = Some(at);
        }
    };
    if let Some(at) = drawn {
        settled(at, player);
    }
    result
}

#[derive(Debug)]
struct Channel {
    state: State,
    has_failed: bool,
}

#[derive(Debug)]
enum State {
    Main(Box<MainChannel>),
    Display(Box<DisplayChannel>),
    Inputs(InputsChannel),
    Cursor(CursorChannel),
    Unknown,
}

impl Player {
    /// A player before the first entry, whose time begins at `start`.
    pub fn new(start: Instant) -> Self {
        let Limits { image_cache_pixels, glz_window_pixels, .. } = Limits::default();
        Self {
            start,
            session: SessionFacts { image_cache_pixels, glz_window_pixels },
            dictionary: None,
            sessions: 0,
            channels: BTreeMap::new(),
            summary: BTreeMap::new(),
            length: Duration::ZERO,
        }
    }

    /// Plays one entry. A channel that cannot go on is left as it is; the others play on.
    pub fn play(&mut self, entry: &Entry<'_>) -> Change {
        self.length = self.length.max(entry.at);
        match &entry.fact {
            Fact::Session(facts) => {
                self.close_all();
                self.session = *facts;
                // A file may claim what no session told a server.
                self.session.image_cache_pixels = facts.image_cache_pixels.min(IMAGE_CACHE_LIMIT);
                self.dictionary = None;
                self.sessions += 1;
                return Change::Screens;
            }
            Fact::Opened { channel, channel_caps, .. } => {
                self.close(*channel);
                let state = self.open(*channel, channel_caps);
                self.channels.insert(*channel, Channel { state, has_failed: false });
            }
            Fact::Message { channel, frame } => return self.message(entry.at, *channel, *frame),
            Fact::Withheld { channel, .. } => self.summary.entry(*channel).or_default().withheld += 1,
            Fact::HoldScreen(holds) => {
                for channel in self.channels.values_mut() {
                    if let State::Display(display) = &mut channel.state {
                        display.hold_screen(*holds);
                    }
                }
            }
            Fact::SharedWindow => {
                self.dictionary = Some(DisplayChannel::dictionary(&self.display_options(0)));
            }
            // What it showed last stays: it is still evidence.
            Fact::Closed { .. } | Fact::End => {}
        }
        Change::Nothing
    }

    /// The screens there are now, by the id of their display channel.
    pub fn screens(&self) -> impl Iterator<Item = (u8, &Surface)> {
        self.channels.iter().filter_map(|(channel, state)| match &state.state {
            State::Display(display) => display.primary().map(|(_, surface)| (channel.id, surface)),
            _ => None,
        })
    }

    /// The display channel with this id, as it is now.
    pub fn display(&self, id: u8) -> Option<&DisplayChannel> {
        let channel = ChannelId { channel_type: ChannelType::DISPLAY, id };
        match &self.channels.get(&channel)?.state {
            State::Display(display) => Some(display),
            _ => None,
        }
    }

    /// How many sessions began.
    pub fn sessions(&self) -> u64 {
        self.sessions
    }

    /// The time of the last entry.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// What became of every channel.
    pub fn summary(&self) -> BTreeMap<ChannelId, ChannelSummary> {
        let mut summary = self.summary.clone();
        for (id, channel) in &self.channels {
            channel.state.add_to(&mut summary.entry(*id).or_default().counters);
        }
        summary
    }

    fn open(&self, channel: ChannelId, server: &Capabilities) -> State {
        match channel.channel_type {
            ChannelType::MAIN => State::Main(Box::default()),
            ChannelType::DISPLAY => State::Display(Box::new(self.open_display(channel.id, server))),
            ChannelType::INPUTS => State::Inputs(InputsChannel::new()),
            ChannelType::CURSOR => State::Cursor(CursorChannel::new()),
            _ => State::Unknown,
        }
    }

    fn open_display(&self, channel_id: u8, server: &Capabilities) -> DisplayChannel {
        let options = self.display_options(channel_id);
        match &self.dictionary {
            Some(dictionary) => DisplayChannel::sharing(options, dictionary, server),
            None => DisplayChannel::new(options, server),
        }
    }

    fn display_options(&self, channel_id: u8) -> DisplayOptions {
        let SessionFacts { image_cache_pixels, glz_window_pixels } = self.session;
        DisplayOptions {
            channel_id,
            compression: None,
            has_image_cache: image_cache_pixels != 0 || glz_window_pixels != 0,
            limits: Limits { image_cache_pixels, glz_window_pixels, ..Limits::default() },
        }
    }

    fn message(&mut self, at: Duration, id: ChannelId, frame: Frame<'_>) -> Change {
        let now = self.start.checked_add(at).unwrap_or(self.start);
        let mut change = self.hand_in(now, id, frame);
        if self.dictionary.is_some() {
            // What it brought may be what another display waits for.
            let others: Vec<ChannelId> = self.channels.keys().copied().filter(|other| *other != id).collect();
            for other in others {
                if self.with_channel(other, |state| state.resume(now)) == Change::Screens {
                    change = Change::Screens;
                }
            }
        }
        change
    }

    fn hand_in(&mut self, now: Instant, id: ChannelId, frame: Frame<'_>) -> Change {
        if self.channels.get(&id).is_none_or(|channel| channel.has_failed) {
            self.summary.entry(id).or_default().unread += 1;
            return Change::Nothing;
        }
        self.with_channel(id, |state| state.handle_message(now, frame))
    }

    /// Notes what becomes of a channel that has not failed.
    fn with_channel(
        &mut self,
        id: ChannelId,
        act: impl FnOnce(&mut State) -> Result<Option<Change>, ChannelError>,
    ) -> Change {
        let Some(channel) = self.channels.get_mut(&id).filter(|channel| !channel.has_failed) else {
            return Change::Nothing;
        };
        match act(&mut channel.state) {
            Ok(Some(change)) => change,
            Ok(None) => {
                self.summary.entry(id).or_default().unread += 1;
                Change::Nothing
            }
            Err(error) => {
                channel.has_failed = true;
                self.summary.entry(id).or_default().errors.push(super::driver::chain(&error));
                Change::Nothing
            }
        }
    }

    fn close_all(&mut self) {
        for id in self.channels.keys().copied().collect::<Vec<_>>() {
            self.close(id);
        }
    }

    /// Forgets a channel, but not what it counted.
    fn close(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.remove(&id) {
            channel.state.add_to(&mut self.summary.entry(id).or_default().counters);
        }
    }
}

impl State {
    /// `None` for channels that nobody here knows.
    fn handle_message(&mut self, now: Instant, frame: Frame<'_>) -> Result<Option<Change>, ChannelError> {
        match self {
            Self::Main(machine) => {
                drain(&mut **machine, |machine| machine.handle_message(now, frame), |_| false)
            }
            Self::Inputs(machine) => drain(machine, |machine| machine.handle_message(now, frame), |_| false),
            Self::Cursor(machine) => drain(machine, |machine| machine.handle_message(now, frame), |_| false),
            Self::Display(machine) => {
                let handle = |display: &mut DisplayChannel| {
                    // A session has handed it in when nothing was waited for any more.
                    if display.hold().is_some() {
                        display.resume(now, true)?;
                    }
                    display.handle_message(now, frame)?;
                    match display.hold() {
                        Some(Hold::Channels(_)) => display.resume(now, false),
                        _ => Ok(()),
                    }
                };
                drain(&mut **machine, handle, is_visible)
            }
            Self::Unknown => Ok(None),
        }
    }

    /// Goes on with what waits for another channel.
    fn resume(&mut self, now: Instant) -> Result<Option<Change>, ChannelError> {
        match self {
            Self::Display(display) if display.hold().is_some() => {
                drain(&mut **display, |display| display.resume(now, false), is_visible)
            }
            _ => Ok(Some(Change::Nothing)),
        }
    }

    fn add_to(&self, total: &mut Counters) {
        match self {
            Self::Main(machine) => add(total, machine.counters()),
            Self::Display(machine) => add(total, machine.counters()),
            Self::Inputs(machine) => add(total, machine.counters()),
            Self::Cursor(machine) => add(total, machine.counters()),
            Self::Unknown => {}
        }
    }
}

/// Pixels that a recorded cache may keep.
const IMAGE_CACHE_LIMIT: u32 = 64 << 20;

fn is_visible(event: &DisplayEvent) -> bool {
    use DisplayEvent::{Drawn, SurfaceCreated, SurfaceDestroyed};
    matches!(event, Drawn { .. } | SurfaceCreated { .. } | SurfaceDestroyed { .. })
}

fn drain<M: Machine>(
    machine: &mut M,
    act: impl FnOnce(&mut M) -> Result<(), ChannelError>,
    is_seen: impl Fn(&M::Event) -> bool,
) -> Result<Option<Change>, ChannelError> {
    let result = act(machine);
    while machine.poll_transmit().is_some() {}
    let mut change = Change::Nothing;
    while let Some(event) = machine.poll_event() {
        if is_seen(&event) {
            change = Change::Screens;
        }
    }
    result.map(|()| Some(change))
}

fn add(total: &mut Counters, counters: &Counters) {
    total.messages += counters.messages;
    total.bytes += counters.bytes;
    counters.draws.iter().for_each(|(name, count)| *total.draws.entry(name).or_default() += count);
    counters.images.iter().for_each(|(name, count)| *total.images.entry(name).or_default() += count);
    for (what, count) in &counters.unsupported {
        *total.unsupported.entry(what.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Message;
    use super::super::wire::display::{SurfaceCreate, SurfaceDestroy};
    use super::*;

    const DISPLAY: ChannelId = ChannelId { channel_type: ChannelType::DISPLAY, id: 0 };

    fn at(milliseconds: u64, fact: Fact<'_>) -> Entry<'_> {
        Entry { at: Duration::from_millis(milliseconds), fact }
    }

    fn opened(channel: ChannelId) -> Fact<'static> {
        let (common, channel_caps) = (Capabilities::default(), Capabilities::default());
        let form = super::super::wire::header::HeaderForm::Mini;
        Fact::Opened { channel, form, common, channel_caps }
    }

    fn message<'a, M: Message<'a>>(_: &M, body: &'a [u8]) -> Fact<'a> {
        Fact::Message { channel: DISPLAY, frame: Frame { kind: M::KIND, sub_list: 0, body } }
    }

    #[test]
    fn a_channel_that_fails_is_left_as_it_is_and_the_others_play_on() {
        let mut player = Player::new(Instant::now());
        let flags = SurfaceCreate::PRIMARY;
        let create = SurfaceCreate { surface_id: 0, width: 8, height: 4, format: 32, flags };
        let (body, cut) = (create.to_body(), [0; 3]);
        let facts = SessionFacts { image_cache_pixels: 0, glz_window_pixels: 0 };
        assert_eq!(player.play(&at(0, Fact::Session(facts))), Change::Screens);
        player.play(&at(1, opened(ChannelId::MAIN)));
        player.play(&at(1, opened(DISPLAY)));
        assert_eq!(player.play(&at(2, message(&create, &body))), Change::Screens);
        assert_eq!(player.play(&at(3, message(&create, &cut))), Change::Nothing);
        // Nothing is done to a channel that has ended.
        let destroy = SurfaceDestroy { surface_id: 0 };
        let gone = destroy.to_body();
        assert_eq!(player.play(&at(4, message(&destroy, &gone))), Change::Nothing);
        assert_eq!(player.screens().map(|(_, screen)| screen.width()).collect::<Vec<_>>(), [8]);
        player.play(&at(9, Fact::Withheld { channel: ChannelId::MAIN, kind: 109, size: 7 }));
        let summary = player.summary();
        assert_eq!(summary[&ChannelId::MAIN].withheld, 1);
        let display = &summary[&DISPLAY];
        assert_eq!((display.counters.messages, display.unread), (2, 1));
        assert!(display.errors[0].starts_with("message 2 (SURFACE_CREATE)"), "{:?}", display.errors);
        assert_eq!((player.sessions(), player.length()), (1, Duration::from_millis(9)));
        // Another session begins from nothing, and what was counted stays.
        player.play(&at(10, Fact::Session(facts)));
        assert_eq!(player.screens().count(), 0);
        assert_eq!(player.summary()[&DISPLAY].counters.messages, 2);
    }
}
