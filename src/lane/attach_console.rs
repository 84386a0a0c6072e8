//! The console of an attached lane, whatever carries it: a SPICE session, or the control socket of somebody's client.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::attach_error::AttachError;
use super::attach_settings::Origin;
use crate::console::control::ControlConsole;
use crate::console::spice::SpiceConsole;
use crate::console::{Console, ConsoleEvent};
use crate::control::client::{ClientEnd, ClientOptions};
use crate::spice::{CloseReason, SessionOptions};

/// What it takes to connect.
pub(super) enum Carrier {
    Spice(Box<SessionOptions>),
    Control(PathBuf, ClientOptions),
}

/// A console that is connected. A clone is the same console.
#[derive(Clone)]
pub(super) enum AttachedConsole {
    Spice(Arc<SpiceConsole>),
    /// With the path of its socket.
    Control(Arc<ControlConsole>, PathBuf),
}

impl AttachedConsole {
    pub(super) async fn connect(
        origin: Origin,
        carrier: Carrier,
    ) -> Result<(Self, mpsc::UnboundedReceiver<ConsoleEvent>), AttachError> {
        match carrier {
            Carrier::Spice(options) => {
                let connected = SpiceConsole::connect(*options).await;
                let (console, events) =
                    connected.map_err(|source| AttachError::Console { origin, source })?;
                Ok((Self::Spice(console), events))
            }
            Carrier::Control(path, options) => {
                let connected = ControlConsole::connect(&path, options).await;
                let (console, events) =
                    connected.map_err(|source| AttachError::Control { origin, source })?;
                Ok((Self::Control(console, path), events))
            }
        }
    }

    /// What scenarios get to hold.
    pub(super) fn shared(&self) -> Arc<dyn Console> {
        match self {
            Self::Spice(console) => Arc::clone(console) as Arc<dyn Console>,
            Self::Control(console, _) => Arc::clone(console) as Arc<dyn Console>,
        }
    }

    /// Resolves when what is on the screen is not seen any more, though the console goes on.
    pub(super) async fn display_failure(&self) -> String {
        match self {
            Self::Spice(console) => console.display_failure().await,
            // There is one connection for everything.
            Self::Control(..) => std::future::pending().await,
        }
    }

    /// Resolves when it has ended.
    pub(super) async fn ended(&self) {
        match self {
            Self::Spice(console) => drop(console.ended().await),
            Self::Control(console, _) => drop(console.ended().await),
        }
    }

    /// How it ended, if it has.
    pub(super) fn end(&self) -> Option<CloseReason> {
        match self {
            Self::Spice(console) => console.end(),
            Self::Control(console, _) => Some(match console.end()? {
                ClientEnd::Server { complaint: None } => CloseReason::ServerClosed,
                ClientEnd::Us => CloseReason::Shutdown,
                end @ (ClientEnd::Server { .. } | ClientEnd::Broken { .. }) => {
                    CloseReason::Failed(format!("the control socket was {end}"))
                }
            }),
        }
    }
}
