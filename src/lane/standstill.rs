//! Making a machine stand still for somebody who looks at it.

use tokio::sync::watch;

use super::control::MachineControl;

/// Stops a machine's time and lets it go on. A clone is about the same machine.
#[derive(Clone)]
pub struct Standstill(Machine);

#[derive(Clone)]
enum Machine {
    /// Through its monitor.
    Qemu(MachineControl),
    /// The one in this process.
    Sim(watch::Sender<bool>),
}

impl Standstill {
    pub(super) fn of_qemu(control: MachineControl) -> Self {
        Self(Machine::Qemu(control))
    }

    /// And what the machine looks at: whether it is to stand still.
    pub(super) fn of_sim() -> (Self, watch::Receiver<bool>) {
        let (sender, receiver) = watch::channel(false);
        (Self(Machine::Sim(sender)), receiver)
    }

    /// Stops the machine, and returns whether it ran.
    ///
    /// # Errors
    /// For people: why it goes on.
    pub async fn stop(&self) -> Result<bool, String> {
        match &self.0 {
            Machine::Qemu(control) => {
                let is_paused = control.is_paused().await.map_err(|error| error.to_string())?;
                if !is_paused {
                    control.pause().await.map_err(|error| error.to_string())?;
                }
                Ok(!is_paused)
            }
            Machine::Sim(is_still) => Ok(!is_still.send_replace(true)),
        }
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// For people: why it does not.
    pub async fn go_on(&self) -> Result<(), String> {
        match &self.0 {
            Machine::Qemu(control) => control.resume().await.map_err(|error| error.to_string()),
            Machine::Sim(is_still) => {
                is_still.send_replace(false);
                Ok(())
            }
        }
    }
}
