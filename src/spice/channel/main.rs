//! The main channel: opens the session and learns which channels there are.

use std::time::Instant;

use super::base::{Base, printable};
use super::{BaseEvent, ChannelError, Counters, Machine};
use crate::spice::session::MovedTo;
use crate::spice::wire::header::Frame;
use crate::spice::wire::link::Capabilities;
use crate::spice::wire::link::ChannelId;
use crate::spice::wire::main::client::{AttachChannels, MigrateConnectError, MouseModeRequest};
use crate::spice::wire::main::{MainMessage, MigrationTarget, capability, mouse_mode};

/// The main channel's state. Performs no IO; the caller moves the bytes.
#[derive(Debug)]
pub struct MainChannel {
    base: Base<MainEvent>,
    is_initialised: bool,
}

/// What a main channel reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MainEvent {
    /// The session exists.
    Init {
        /// What other channels link with.
        session_id: u32,
    },
    /// These channels can be opened.
    Channels(Vec<ChannelId>),
    /// How the mouse works from now on.
    MouseMode {
        /// Absolute positions can be had.
        is_client_supported: bool,
        /// Absolute positions are taken now.
        is_client: bool,
    },
    /// The guest agent came (true) or went.
    Agent(bool),
    /// The server goes away, and has a successor.
    Moved(MovedTo),
    /// The machine's name.
    Name(String),
    /// See [`BaseEvent`].
    Base(BaseEvent),
}

impl From<BaseEvent> for MainEvent {
    fn from(event: BaseEvent) -> Self {
        Self::Base(event)
    }
}

impl MainChannel {
    /// The state right after the link.
    pub fn new() -> Self {
        Self { base: Base::new(), is_initialised: false }
    }

    /// Capabilities to link with. Those for migration are left out, so the server does not ask for any part in it.
    pub fn capabilities() -> Capabilities {
        Capabilities::of(&[capability::NAME_AND_UUID, capability::AGENT_CONNECTED_TOKENS])
    }

    fn handle(&mut self, kind: u16, body: &[u8]) -> Result<(), ChannelError> {
        let name = MainMessage::name_of(kind).unwrap_or("unknown");
        let message = MainMessage::decode(kind, body).map_err(|error| self.base.decode_error(name, error))?;
        match message {
            Some(MainMessage::Init(init)) => {
                if self.is_initialised {
                    let serial = self.base.serial();
                    return Err(ChannelError::Unexpected { serial, name, problem: "twice" });
                }
                self.is_initialised = true;
                self.base.report(MainEvent::Init { session_id: init.session_id });
                if init.agent_connected != 0 {
                    self.base.report(MainEvent::Agent(true));
                }
                self.base.send(&AttachChannels {});
                let word = |mode| u16::try_from(mode).unwrap_or(0);
                self.report_mouse_mode(word(init.supported_mouse_modes), word(init.current_mouse_mode));
            }
            Some(MainMessage::ChannelsList(list)) => self.base.report(MainEvent::Channels(list.channels)),
            Some(MainMessage::MouseMode(mode)) => self.report_mouse_mode(mode.supported, mode.current),
            Some(MainMessage::Name(message)) => self.base.report(MainEvent::Name(printable(message.name.0))),
            Some(MainMessage::AgentConnected(_) | MainMessage::AgentConnectedTokens(_)) => {
                self.base.report(MainEvent::Agent(true));
            }
            Some(MainMessage::AgentDisconnected(_)) => self.base.report(MainEvent::Agent(false)),
            // Comes although no capability for it was announced. The server goes on without us, and says SWITCH_HOST.
            Some(MainMessage::MigrateBegin(_) | MainMessage::MigrateBeginSeamless(_)) => {
                self.base.unsupported(name);
                self.base.send(&MigrateConnectError {});
            }
            Some(MainMessage::MigrateSwitchHost(message)) => {
                self.base.report(MainEvent::Moved(moved_to(&message.target)));
            }
            // Nothing is said to the agent, so its tokens and its words are of no use here.
            Some(
                MainMessage::AgentData(_)
                | MainMessage::AgentToken(_)
                | MainMessage::MultiMediaTime(_)
                | MainMessage::Uuid(_)
                | MainMessage::MigrateCancel(_)
                | MainMessage::MigrateEnd(_)
                | MainMessage::MigrateDstSeamlessAck(_)
                | MainMessage::MigrateDstSeamlessNack(_),
            ) => {}
            None => self.base.unsupported(&format!("message type {kind}")),
        }
        Ok(())
    }

    fn report_mouse_mode(&mut self, supported: u16, current: u16) {
        let is_client_supported = supported & mouse_mode::CLIENT != 0;
        // Who tests wants to say where the pointer is.
        if is_client_supported && current != mouse_mode::CLIENT {
            self.base.send(&MouseModeRequest { mode: mouse_mode::CLIENT });
        }
        self.base
            .report(MainEvent::MouseMode { is_client_supported, is_client: current == mouse_mode::CLIENT });
    }
}

fn moved_to(target: &MigrationTarget<'_>) -> MovedTo {
    let port = |port: u16| Some(port).filter(|port| ![0, u16::MAX].contains(port));
    let host_subject = Some(printable(target.cert_subject)).filter(|subject| !subject.is_empty());
    MovedTo {
        host: printable(target.host),
        port: port(target.port),
        tls_port: port(target.sport),
        host_subject,
    }
}

impl Default for MainChannel {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine for MainChannel {
    type Event = MainEvent;

    fn handle_message(&mut self, _now: Instant, message: Frame<'_>) -> Result<(), ChannelError> {
        let own = self.base.receive(message)?;
        own.into_iter().try_for_each(|(kind, body)| self.handle(kind, body))
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.base.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<MainEvent> {
        self.base.poll_event()
    }

    fn counters(&self) -> &Counters {
        &self.base.counters
    }

    fn is_established(&self) -> bool {
        true
    }
}
