//! `control screenshot`: a picture into a file, whole or not at all.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::json;

use super::{ControlError, Session, put_bytes};
use crate::cli::exit::ExitCode;
use crate::control::protocol::{Call, PictureFormat, ScreenshotParams, ScreenshotResult};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  backstaff control screenshot screen.png\n  backstaff control screenshot - | backstaff \
digest decode -\n  backstaff control screenshot --rgba screen.rgba --json"
)]
pub(super) struct ScreenshotCommand {
    /// Where the picture goes; `-` is standard output, unless that is a terminal.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which surface [default: the screen].
    #[arg(long, value_name = "N")]
    surface: Option<u32>,
    /// Bytes R, G, B, A in rows from the top left instead of a PNG.
    #[arg(long)]
    rgba: bool,
}

impl ScreenshotCommand {
    /// What is wrong is said before anything is asked for.
    pub(super) fn check(&self, json: bool) -> Result<(), ControlError> {
        match self.is_standard_output() {
            true if json => Err(ControlError::TwoOutputs),
            true if std::io::stdout().is_terminal() => Err(ControlError::Terminal),
            _ => Ok(()),
        }
    }

    pub(super) async fn take(self, session: &mut Session) -> Result<ExitCode, ControlError> {
        let format = if self.rgba { PictureFormat::Rgba } else { PictureFormat::Png };
        let params = ScreenshotParams { surface_id: self.surface, format: Some(format.name().to_owned()) };
        let shot: ScreenshotResult = session.call(Call::Screenshot(params)).await?;
        let bytes = decoded(&shot, format)?;
        if self.is_standard_output() {
            put_bytes(&bytes)?;
            return Ok(ExitCode::PASSED);
        }
        let file = self.file.display().to_string();
        store(&self.file, &bytes).map_err(|source| ControlError::Write { file: file.clone(), source })?;
        let (width, height) = (shot.width, shot.height);
        let result = json!({
            "width": width, "height": height, "format": format.name(), "bytes": bytes.len(), "file": file,
        });
        let text = format!("{file}: {width}x{height}, {} bytes of {}\n", bytes.len(), format.name());
        session.print(&result, &text)
    }

    fn is_standard_output(&self) -> bool {
        self.file == Path::new("-")
    }
}

/// The picture, if it is one.
fn decoded(shot: &ScreenshotResult, format: PictureFormat) -> Result<Vec<u8>, ControlError> {
    let wrong = |reason: String| ControlError::Picture { reason };
    if shot.format != format.name() {
        return Err(wrong(format!("wants {}, got {:?}", format.name(), shot.format)));
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(&shot.data_base64)
        .map_err(|error| wrong(format!("data_base64: {error}")))?;
    let pixels = u64::from(shot.width) * u64::from(shot.height);
    let is_whole = match format {
        PictureFormat::Png => bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
        PictureFormat::Rgba => pixels.checked_mul(4) == Some(bytes.len() as u64),
    };
    match is_whole {
        true => Ok(bytes),
        false => Err(wrong(format!(
            "{} bytes are no picture of {}x{} as {}",
            bytes.len(),
            shot.width,
            shot.height,
            format.name()
        ))),
    }
}

/// Writes beside the file first, so that nobody ever reads half a picture. What is no plain file is written to.
fn store(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if file.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return std::fs::write(file, bytes);
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    let part = file.with_file_name(name);
    std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, file)).inspect_err(|_| {
        // What could not be made is not there, either.
        let _ = std::fs::remove_file(&part);
    })
}
