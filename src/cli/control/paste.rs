//! `control paste`: the server types, we wait for the outcome.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ControlError, Session, given};
use crate::cli::exit::ExitCode;
use crate::console::layout::US;
use crate::control::client::ClientError;
use crate::control::protocol::{
    Call, DEFAULT_CHAR_DELAY_MS, Event, EventKind, Method, PASTE_LIMIT, PasteParams,
};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Waits for the outcome: for four times as long as the typing should take, and --timeout more.\n\n\
Examples:\n  backstaff control paste 'a line' --delay 20\n  backstaff control paste - < commands.txt"
)]
pub(super) struct PasteCommand {
    /// The text; `-` reads it from standard input, as it is.
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    text: String,
    /// Time per character [default: the server's, which is 10].
    #[arg(long, value_name = "MS")]
    delay: Option<u32>,
}

/// A text that is to be typed by a server.
pub(super) struct Paste {
    params: PasteParams,
}

impl PasteCommand {
    pub(super) fn paste(self) -> Result<Paste, ControlError> {
        Ok(Paste { params: PasteParams { text: given(self.text)?, char_delay_ms: self.delay } })
    }
}

impl Paste {
    pub(super) async fn send(self, session: &mut Session) -> Result<ExitCode, ControlError> {
        if !session.client.has_method(Method::Paste) {
            return Err(ControlError::NoMethod { method: Method::Paste, server: session.server() });
        }
        let names = [EventKind::PasteCompleted, EventKind::PasteFailed].map(|kind| kind.name().to_owned());
        session.subscribe(names.into()).await?;
        // The server knows best what it can type; what it does not say is how much it left out.
        let wanted = US.keys(&self.params.text).map(|keys| keys.len()).ok();
        let after = self.patience(session.timeout);
        let pending = session.client.send(Call::Paste(self.params));
        let id = pending.id().clone();
        pending.answer::<Value>().await?;
        let outcome = async {
            while let Some(event) = session.events.recv().await {
                match event {
                    Event::PasteCompleted { request_id, chars_sent } if request_id == id => {
                        return Ok(chars_sent);
                    }
                    Event::PasteFailed { request_id, reason } if request_id == id => {
                        return Err(ControlError::PasteFailed { reason });
                    }
                    _ => {}
                }
            }
            let end = session.client.closed().await;
            Err(ClientError::Closed { method: Method::Paste, end }.into())
        };
        let typed =
            tokio::time::timeout(after, outcome).await.unwrap_or(Err(ControlError::PasteSilent { after }))?;
        if let Some(wanted) =
            wanted.filter(|&wanted| u32::try_from(wanted).is_ok_and(|wanted| typed < wanted))
        {
            return Err(ControlError::PasteCut { typed, wanted });
        }
        let plural = if typed == 1 { "" } else { "s" };
        let result = json!({ "request_id": id, "chars_sent": typed });
        session.print(&result, &format!("{typed} key{plural} typed\n"))
    }

    /// For how long the outcome may take.
    fn patience(&self, timeout: Duration) -> Duration {
        let characters = self.params.text.chars().take(PASTE_LIMIT).count();
        let delay = self.params.char_delay_ms.unwrap_or(DEFAULT_CHAR_DELAY_MS).max(1);
        let typing = Duration::from_millis(u64::from(delay)) * u32::try_from(characters).unwrap_or(u32::MAX);
        timeout + typing.saturating_mul(4)
    }
}
