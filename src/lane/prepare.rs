//! What has to lie in a lane's folder before QEMU starts, and what must not lie there afterwards.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;

use rand::Rng as _;
use rand::distributions::Alphanumeric;

use super::error::LaneError;
use super::plan::{Need, Plan};
use super::profile::DiskFormat;
use super::qcow2;

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
    for file in plan.firmware.iter().chain(&plan.inputs) {
        std::fs::metadata(&file.source).map_err(|source| LaneError::Input {
            path: file.source.clone(),
            role: file.role,
            source,
        })?;
    }
    Ok(())
}

/// Puts what the plan needs into the folder, and returns the ticket when there is one.
///
/// # Errors
/// A file cannot be made, or what an overlay lies over is not what the plan says.
pub fn prepare(plan: &Plan, folder: &Path) -> Result<Option<String>, LaneError> {
    let mut ticket = None;
    for need in &plan.needs {
        match need {
            Need::Link { source: file, to, .. } => {
                let path = folder.join(to);
                remove(&path)?;
                std::os::unix::fs::symlink(file, &path)
                    .map_err(|source| LaneError::Prepare { path, source })?;
            }
            Need::Overlay { backing, format, to } => {
                let path = folder.join(to);
                let backing = folder.join(backing);
                overlay_over(&backing, *format)
                    .and_then(|image| std::fs::write(&path, image))
                    .map_err(|source| LaneError::Prepare { path, source })?;
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

fn overlay_over(backing: &Path, format: DiskFormat) -> io::Result<Vec<u8>> {
    let odd = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut file = File::open(backing)?;
    let size = match format {
        // The end, and not what the folder says: a block device has no size there.
        DiskFormat::Raw => file.seek(io::SeekFrom::End(0))?,
        DiskFormat::Qcow2 => {
            let mut header = Vec::with_capacity(qcow2::HEADER_BYTES);
            file.take(qcow2::HEADER_BYTES as u64).read_to_end(&mut header)?;
            let header = qcow2::Header::parse(&header);
            header.ok_or_else(|| odd(format!("{} is no qcow2 image", backing.display())))?.virtual_size
        }
    };
    qcow2::overlay(size).ok_or_else(|| {
        let backing = backing.display();
        odd(format!("{backing} has {size} bytes, the limit is {}", qcow2::LARGEST))
    })
}

pub(super) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

const TICKET_CHARS: usize = 32;
