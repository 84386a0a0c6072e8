//! What has to lie in a lane's folder before QEMU starts, and what must not lie there afterwards.

use std::path::{Path, PathBuf};

use rand::Rng as _;
use rand::distributions::Alphanumeric;

use super::error::LaneError;
use super::plan::{Need, Plan};

pub(super) fn remove(path: &Path) -> Result<(), LaneError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(LaneError::Prepare { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Says which input is missing before QEMU says it in its own words.
pub(super) fn check_inputs(plan: &Plan) -> Result<(), LaneError> {
    for file in plan.files.iter().filter(|file| Path::new(&file.path).is_absolute()) {
        std::fs::metadata(&file.path).map_err(|source| LaneError::Input {
            path: PathBuf::from(&file.path),
            role: file.role,
            source,
        })?;
    }
    Ok(())
}

/// Puts what the plan needs into the folder, and returns the ticket when there is one.
pub(super) fn prepare(plan: &Plan, folder: &Path) -> Result<Option<String>, LaneError> {
    let mut ticket = None;
    for need in &plan.needs {
        match need {
            Need::Copy { from, to } => {
                let path = folder.join(to);
                std::fs::copy(from, &path).map_err(|source| LaneError::Prepare { path, source })?;
            }
            Need::Ticket { to } => {
                let path = folder.join(to);
                let secret: String =
                    rand::thread_rng().sample_iter(Alphanumeric).take(TICKET_CHARS).map(char::from).collect();
                write_private(&path, &secret).map_err(|source| LaneError::Prepare { path, source })?;
                ticket = Some(secret);
            }
        }
    }
    Ok(ticket)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

const TICKET_CHARS: usize = 32;
