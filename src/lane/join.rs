//! How others join a lane that is held for them: addresses, and a connection file for viewers.

use std::io;
use std::path::{Path, PathBuf};

use super::plan::{MONITOR_SOCKET, Plan, SERIAL_LOG, SPICE_SOCKET, SpiceEndpoint, TICKET_FILE};
use super::prepare::write_private;
use super::unix_socket::MOST_PATH_BYTES;
use crate::lane::handle::Capability;
use crate::spice::address::ConnectionTarget;
use crate::spice::{Endpoint, Password, vv};

/// The connection file, in the lane's folder.
pub const VV_FILE: &str = "console.vv";

/// Where a lane can be joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    /// The lane's name.
    pub lane: String,
    /// The console, as a URI without the ticket.
    pub uri: String,
    /// A connection file with the ticket, readable by its owner only.
    pub vv: PathBuf,
    /// A QMP socket that nobody uses, where there is QEMU.
    pub monitor: Option<PathBuf>,
    /// What the guest says.
    pub serial_log: Option<PathBuf>,
    /// The lane's folder.
    pub folder: PathBuf,
    /// Why joining may not work.
    pub warning: Option<String>,
}

impl Joining {
    /// Writes the connection file of a lane that is up in `folder`, which is absolute.
    ///
    /// # Errors
    /// The ticket cannot be read, or the file cannot be written.
    pub fn prepare(plan: &Plan, folder: &Path) -> io::Result<Self> {
        let endpoint = match &plan.spice {
            SpiceEndpoint::Unix { .. } => Endpoint::Unix(folder.join(SPICE_SOCKET)),
            SpiceEndpoint::Tcp { port } => Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: *port },
        };
        let has_serial = plan.capabilities.contains(&Capability::Serial);
        Self::write(&plan.profile, endpoint, Some(folder.join(MONITOR_SOCKET)), has_serial, folder)
    }

    /// The same for a simulated lane.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn prepare_simulated(lane: &str, folder: &Path) -> io::Result<Self> {
        Self::write(lane, Endpoint::Unix(folder.join(SPICE_SOCKET)), None, true, folder)
    }

    fn write(
        lane: &str,
        endpoint: Endpoint,
        monitor: Option<PathBuf>,
        has_serial: bool,
        folder: &Path,
    ) -> io::Result<Self> {
        let password = match std::fs::read_to_string(folder.join(TICKET_FILE)) {
            Ok(ticket) => Some(Password::from(ticket)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let longest = folder.join(MONITOR_SOCKET).as_os_str().len();
        let warning = (longest > MOST_PATH_BYTES).then(|| {
            format!(
                "the sockets' paths have {longest} bytes and most programs take at most {MOST_PATH_BYTES}; \
                 `--artifacts` names a shorter folder"
            )
        });
        let title = Some(format!("{lane} (backstaff)"));
        let target =
            ConnectionTarget { plain: Some(endpoint), password, title, ..ConnectionTarget::default() };
        let path = folder.join(VV_FILE);
        write_private(&path, &vv::format(&target, false))?;
        Ok(Self {
            lane: lane.to_owned(),
            uri: target.to_uri().unwrap_or_default(),
            vv: path,
            monitor,
            serial_log: has_serial.then(|| folder.join(SERIAL_LOG)),
            folder: folder.to_owned(),
            warning,
        })
    }

    /// Removes the connection file of a lane that is no more.
    pub fn forget(folder: &Path) {
        // It may never have been written.
        let _ = std::fs::remove_file(folder.join(VV_FILE));
    }
}
