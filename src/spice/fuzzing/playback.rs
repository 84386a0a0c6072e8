//! A playback channel: streams as they come, and packets that are well formed, with what is counted of them.

use std::collections::BTreeMap;
use std::time::Instant;

use super::messages::{check_base, check_message, converse};
use super::{Source, check_error};
use crate::spice::channel::{Machine as _, PlaybackChannel, SoundCount};
use crate::spice::wire::Message;
use crate::spice::wire::base::client::{Ack, AckSync, BaseMessage, Pong};
use crate::spice::wire::base::{List, Ping, SetAck};
use crate::spice::wire::bytes::Rest;
use crate::spice::wire::header::{Frame, HeaderForm};
use crate::spice::wire::playback::{
    Data, Latency, Mode, Mute, PlaybackMessage, Start, Stop, Volume, mode as modes,
};

/// By the first byte: 0 the stream of a channel; otherwise each message is a byte that says which, and what it takes.
pub fn playback(data: &[u8]) {
    let mut source = Source(data);
    match source.up_to(1) {
        0 => stream(source.rest()),
        _ => packets(source),
    }
}

fn stream(stream: &[u8]) {
    let mut rest = stream;
    while let Ok(Some((message, behind))) = Frame::split(HeaderForm::Mini, rest, 1 << 16) {
        rest = behind;
        let (kind, body) = (message.kind, message.body);
        check_message(kind, body, PlaybackMessage::decode(kind, body), PlaybackMessage::to_body, |encoded| {
            PlaybackMessage::decode(kind, encoded) == PlaybackMessage::decode(kind, body)
        });
    }
    let between = |machine: &mut PlaybackChannel, messages: u64| {
        let counters = machine.counters();
        let packets: u64 = counters.sounds.values().map(|count| count.packets).sum();
        let bytes: u64 = counters.sounds.values().map(|count| count.bytes).sum();
        // There are three modes, and those that nobody knows.
        assert!(counters.sounds.len() <= 4, "{:?}", counters.sounds);
        // A list and its sub-messages are one message, and their bodies may be the same bytes.
        assert!(packets <= messages * 65, "{packets} packets in {messages} messages");
        assert!(bytes <= counters.bytes * 65, "{bytes} bytes of sound in {} bytes", counters.bytes);
        assert!(counters.unsupported.len() <= 257);
    };
    converse(&mut PlaybackChannel::new(), stream, between, |event| check_base(&event));
}

fn packets(source: Source<'_>) {
    let mut player = Player {
        source,
        channel: PlaybackChannel::new(),
        mode: "RAW",
        sounds: BTreeMap::new(),
        window: 0,
        unacknowledged: 0,
    };
    while !player.source.is_empty() {
        player.message();
    }
}

/// A channel, and what must have come of what it was told.
struct Player<'a> {
    source: Source<'a>,
    channel: PlaybackChannel,
    mode: &'static str,
    sounds: BTreeMap<&'static str, SoundCount>,
    window: u32,
    unacknowledged: u32,
}

impl Player<'_> {
    fn message(&mut self) {
        match self.source.up_to(11) {
            0..=2 => {
                let (time, data) = (self.source.u32(), Rest(self.source.part()));
                self.expect_sound(data.0.len());
                self.say(&Data { time, data }, &[]);
            }
            3 => {
                let (time, mode, data) = (self.source.u32(), self.source.u16() % 6, Rest(self.source.part()));
                self.mode = match mode {
                    modes::RAW => "RAW",
                    modes::CELT => "CELT",
                    modes::OPUS => "OPUS",
                    _ => "unknown",
                };
                self.say(&Mode { time, mode, data }, &[]);
            }
            4 => {
                let (channels, format) = (self.source.u32(), self.source.u16());
                let (frequency, time) = (self.source.u32(), self.source.u32());
                self.say(&Start { channels, format, frequency, time }, &[]);
            }
            5 => self.say(&Stop {}, &[]),
            6 => {
                let data = Rest(self.source.part());
                self.say(&Volume { data }, &[]);
            }
            7 => {
                let mute = self.source.u8();
                self.say(&Mute { mute }, &[]);
            }
            8 => {
                let latency_ms = self.source.u32();
                self.say(&Latency { latency_ms }, &[]);
            }
            9 => {
                let (generation, window) = (self.source.u32(), self.source.up_to(20).into());
                (self.window, self.unacknowledged) = (window, 0);
                self.feed(&SetAck { generation, window }, &[AckSync { generation }.to_body()]);
            }
            10 => {
                let (id, timestamp) = (self.source.u32(), self.source.u32().into());
                let data = Rest(self.source.part());
                self.say(&Ping { id, timestamp, data }, &[Pong { id, timestamp }.to_body()]);
            }
            _ => self.list(),
        }
    }

    /// Packets in one message, which is one to be acknowledged.
    fn list(&mut self) {
        let parts: Vec<&[u8]> = (0..self.source.up_to(5)).map(|_| self.source.part()).collect();
        let bodies: Vec<Vec<u8>> = parts
            .iter()
            .map(|part| {
                self.expect_sound(part.len());
                Data { time: 0, data: Rest(part) }.to_body()
            })
            .collect();
        let messages = bodies.iter().map(|body| (<Data<'_> as Message<'_>>::KIND, body.as_slice()));
        self.say(&List { messages: messages.collect() }, &[]);
    }

    fn expect_sound(&mut self, bytes: usize) {
        let count = self.sounds.entry(self.mode).or_default();
        count.packets += 1;
        count.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    /// Says something that counts towards the next acknowledgement.
    fn say<'m>(&mut self, message: &impl Message<'m>, answers: &[Vec<u8>]) {
        self.unacknowledged += 1;
        if self.unacknowledged == self.window {
            self.unacknowledged = 0;
            self.feed(message, &[answers, &[Ack {}.to_body()]].concat());
        } else {
            self.feed(message, answers);
        }
    }

    /// What is well formed is taken, counted, and has these answers and no others.
    fn feed<'m, M: Message<'m>>(&mut self, message: &M, answers: &[Vec<u8>]) {
        let frame = Frame { kind: M::KIND, sub_list: 0, body: &message.to_body() };
        if let Err(error) = self.channel.handle_message(Instant::now(), frame) {
            check_error(&error);
            panic!("{} is refused: {error}", M::NAME);
        }
        let sent: Vec<Vec<u8>> = std::iter::from_fn(|| self.channel.poll_transmit()).map(body_of).collect();
        assert_eq!(sent, answers, "answers to {}", M::NAME);
        assert_eq!(self.channel.poll_event(), None, "there is nothing to tell about {}", M::NAME);
        assert_eq!(self.channel.counters().sounds, self.sounds, "counted after {}", M::NAME);
    }
}

fn body_of(bytes: Vec<u8>) -> Vec<u8> {
    let split = Frame::split(HeaderForm::Mini, &bytes, 1 << 10);
    let Ok(Some((frame, []))) = split else { panic!("{bytes:02x?} is not one frame") };
    let message = BaseMessage::decode(frame.kind, frame.body);
    assert!(matches!(message, Ok(Some(_))), "{bytes:02x?}");
    frame.body.to_vec()
}
