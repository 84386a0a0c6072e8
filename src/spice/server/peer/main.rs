//! The main channel: makes the session, lists the channels, knows how the mouse works.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::base::Base;
use super::{Peer, PeerError};
use crate::spice::wire::Message;
use crate::spice::wire::bytes::Counted;
use crate::spice::wire::header::{Frame, HeaderForm};
use crate::spice::wire::link::{Capabilities, ChannelId};
use crate::spice::wire::main::client::MainMessage;
use crate::spice::wire::main::{ChannelsList, Init, MouseMode, Name, Uuid, capability, mouse_mode};

/// How the mouse of one session works; its inputs channel looks here.
#[derive(Debug, Clone)]
pub(in crate::spice::server) struct MouseModes(Arc<AtomicU16>);

impl MouseModes {
    pub(in crate::spice::server) fn new() -> Self {
        Self(Arc::new(AtomicU16::new(mouse_mode::SERVER)))
    }

    pub(super) fn current(&self) -> u16 {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, mode: u16) {
        self.0.store(mode, Ordering::Release);
    }
}

/// What a main channel begins with.
pub(in crate::spice::server) struct MainOptions<'a> {
    pub(in crate::spice::server) form: HeaderForm,
    pub(in crate::spice::server) session_id: u32,
    pub(in crate::spice::server) name: &'a str,
    /// What the client says it understands.
    pub(in crate::spice::server) caps: &'a Capabilities,
    pub(in crate::spice::server) channels: Vec<ChannelId>,
    pub(in crate::spice::server) mouse: MouseModes,
}

/// The main channel's state.
#[derive(Debug)]
pub(in crate::spice::server) struct MainPeer {
    base: Base,
    channels: Vec<ChannelId>,
    mouse: MouseModes,
}

impl MainPeer {
    pub(in crate::spice::server) fn new(options: MainOptions<'_>, now: Instant) -> Self {
        let mut base = Base::new(options.form);
        base.send(&Init {
            session_id: options.session_id,
            display_channels_hint: 1,
            supported_mouse_modes: (mouse_mode::SERVER | mouse_mode::CLIENT).into(),
            current_mouse_mode: options.mouse.current().into(),
            agent_connected: 0,
            agent_tokens: AGENT_TOKENS,
            multi_media_time: 0,
            ram_hint: 0,
        });
        if options.caps.has(capability::NAME_AND_UUID) {
            let name = [options.name.as_bytes(), &[0]].concat();
            base.send(&Name { name: Counted(&name) });
            base.send(&Uuid { uuid: [0; 16] });
        }
        base.ping_every(PING_EVERY, now);
        Self { base, channels: options.channels, mouse: options.mouse }
    }

    fn handle(&mut self, kind: u16, body: &[u8]) -> Result<(), PeerError> {
        let name = MainMessage::name_of(kind).unwrap_or("unknown");
        let message =
            MainMessage::decode(kind, body).map_err(|source| self.base.decode_error(name, source))?;
        match message {
            Some(MainMessage::AttachChannels(_)) => {
                self.base.send(&ChannelsList { channels: self.channels.clone() });
            }
            Some(MainMessage::MouseModeRequest(request)) => {
                if [mouse_mode::SERVER, mouse_mode::CLIENT].contains(&request.mode) {
                    self.mouse.set(request.mode);
                }
                let supported = mouse_mode::SERVER | mouse_mode::CLIENT;
                self.base.send(&MouseMode { supported, current: self.mouse.current() });
            }
            // There is no agent in the guest, and QEMU drops what is for one that is not there.
            Some(MainMessage::AgentStart(_) | MainMessage::AgentData(_) | MainMessage::AgentToken(_)) => {}
            None if MIGRATION.contains(&kind) => {}
            None => return Err(self.base.unknown(kind)),
        }
        Ok(())
    }
}

impl Peer for MainPeer {
    fn message_bytes(&self) -> u32 {
        4096 + 11 * 2048
    }

    fn handle_message(&mut self, _now: Instant, message: Frame<'_>) -> Result<(), PeerError> {
        match self.base.receive(message)? {
            Some((kind, body)) => self.handle(kind, body),
            None => Ok(()),
        }
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.base.poll_transmit(now)
    }

    fn malform(&mut self) {
        self.base.malform(<MouseMode as Message<'_>>::KIND);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.base.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        self.base.handle_timeout(now)
    }
}

/// What clients say of migrations that never happen here, and of the quality of the line.
const MIGRATION: [u16; 6] = [102, 103, 109, 110, 111, 112];
const AGENT_TOKENS: u32 = 10;
const PING_EVERY: Duration = Duration::from_secs(15);
