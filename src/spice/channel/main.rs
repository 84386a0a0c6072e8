//! The main channel: opens the session and learns which channels there are.

use std::sync::Arc;
use std::time::Instant;

use super::agent::{Agent, AgentError, AgentEvent, AgentState};
use super::base::{Base, printable};
use super::{BaseEvent, ChannelError, Counters, Machine};
use crate::spice::session::MovedTo;
use crate::spice::wire::agent::Selection;
use crate::spice::wire::bytes::Rest;
use crate::spice::wire::header::{Frame, mini_frame};
use crate::spice::wire::link::Capabilities;
use crate::spice::wire::link::ChannelId;
use crate::spice::wire::main::client::{
    AgentData, AgentStart, AttachChannels, MigrateConnectError, MouseModeRequest,
};
use crate::spice::wire::main::{MainMessage, MigrationTarget, capability, mouse_mode};

/// The main channel's state. Performs no IO; the caller moves the bytes.
#[derive(Debug)]
pub struct MainChannel {
    base: Base<MainEvent>,
    agent: Agent,
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
    /// See [`AgentEvent`].
    Agent(AgentEvent),
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
        Self { base: Base::telling_pings(), agent: Agent::default(), is_initialised: false }
    }

    /// Capabilities to link with. Those for migration are left out, so the server does not ask for any part in it.
    pub fn capabilities() -> Capabilities {
        Capabilities::of(&[capability::NAME_AND_UUID, capability::AGENT_CONNECTED_TOKENS])
    }

    /// What is known of the guest's agent.
    pub fn agent(&self) -> &AgentState {
        self.agent.state()
    }

    /// Offers text to the guest's agent, which gets it when it asks for it.
    ///
    /// # Errors
    /// There is no agent, or none that takes it.
    pub fn agent_copy(&mut self, selection: Selection, text: Arc<[u8]>) -> Result<(), AgentError> {
        self.agent.copy(selection, text).map(|()| self.serve_agent())
    }

    /// Asks the guest's agent for the text it offers; it comes as [`AgentEvent::Fetched`], or never.
    ///
    /// # Errors
    /// There is no agent, or it offers no text.
    pub fn agent_fetch(&mut self, selection: Selection) -> Result<(), AgentError> {
        self.agent.fetch(selection).map(|()| self.serve_agent())
    }

    /// The text that was fetched last.
    pub fn agent_fetched(&self, selection: Selection) -> Option<Arc<[u8]>> {
        self.agent.fetched(selection)
    }

    /// Asks for monitors of these widths and heights.
    ///
    /// # Errors
    /// There is no agent.
    pub fn agent_resize(&mut self, monitors: Vec<(u32, u32)>) -> Result<(), AgentError> {
        self.agent.resize(monitors).map(|()| self.serve_agent())
    }

    /// Bytes of the agent's messages that wait to be sent, and of the one that is arriving.
    pub(in crate::spice) fn agent_held_bytes(&self) -> (usize, usize) {
        self.agent.held_bytes()
    }

    /// Passes on what the agent's part has to tell. What it has to send waits until it is asked for: a server that gives
    /// tokens freely is not given memory with them.
    fn serve_agent(&mut self) {
        while let Some(event) = self.agent.poll_event() {
            self.base.report(MainEvent::Agent(event));
        }
        self.agent.take_left_out().iter().for_each(|what| self.base.unsupported(what));
    }

    fn connect_agent(&mut self) {
        self.base.send(&AgentStart { num_tokens: Agent::GRANTED });
        self.agent.connect();
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
                self.base.send(&AttachChannels {});
                self.agent.set_tokens(init.agent_tokens);
                if init.agent_connected != 0 {
                    self.connect_agent();
                }
                let word = |mode| u16::try_from(mode).unwrap_or(0);
                self.report_mouse_mode(word(init.supported_mouse_modes), word(init.current_mouse_mode));
            }
            Some(MainMessage::ChannelsList(list)) => self.base.report(MainEvent::Channels(list.channels)),
            Some(MainMessage::MouseMode(mode)) => self.report_mouse_mode(mode.supported, mode.current),
            Some(MainMessage::Name(message)) => self.base.report(MainEvent::Name(printable(message.name.0))),
            Some(MainMessage::AgentConnected(_)) => self.connect_agent(),
            Some(MainMessage::AgentConnectedTokens(message)) => {
                self.agent.set_tokens(message.num_tokens);
                self.connect_agent();
            }
            Some(MainMessage::AgentDisconnected(_)) => self.agent.disconnect(),
            Some(MainMessage::AgentToken(message)) => self.agent.add_tokens(message.num_tokens),
            Some(MainMessage::AgentData(message)) => {
                let handled = self.agent.handle_data(message.data.0);
                // What was understood before an error did happen.
                self.serve_agent();
                handled.map_err(|error| self.base.decode_error(name, error))?;
            }
            // Comes although no capability for it was announced. The server goes on without us, and says SWITCH_HOST.
            Some(MainMessage::MigrateBegin(_) | MainMessage::MigrateBeginSeamless(_)) => {
                self.base.unsupported(name);
                self.base.send(&MigrateConnectError {});
            }
            Some(MainMessage::MigrateSwitchHost(message)) => {
                self.base.report(MainEvent::Moved(moved_to(&message.target)));
            }
            Some(
                MainMessage::MultiMediaTime(_)
                | MainMessage::Uuid(_)
                | MainMessage::MigrateCancel(_)
                | MainMessage::MigrateEnd(_)
                | MainMessage::MigrateDstSeamlessAck(_)
                | MainMessage::MigrateDstSeamlessNack(_),
            ) => {}
            None => self.base.unsupported(&format!("message type {kind}")),
        }
        self.serve_agent();
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
        if let Some(frame) = self.base.poll_transmit() {
            return Some(frame);
        }
        let chunk = self.agent.poll_chunk()?;
        Some(mini_frame(&AgentData { data: Rest(&chunk) }))
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
