//! `backstaff replay`: redraws a recording without a network.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::args::{ColorChoice, ReplayCommand};
use super::exit::ExitCode;
use super::run::{chain, complain, look};
use crate::console::Screenshot;
use crate::report;
use crate::report::replay::{Replayed, SettledScreen};
use crate::spice::Surface;
use crate::spice::recording::{ReadError, Reader};
use crate::spice::replay::{Player, play_settling};

/// Why there is nothing, or not all, to say.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error("{}", file.display())]
    Open { file: PathBuf, source: std::io::Error },
    #[error("{}", file.display())]
    Read { file: PathBuf, source: ReadError },
    #[error("write {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("encode {}", path.display())]
    Encode { path: PathBuf, source: png::EncodingError },
}

impl ReplayError {
    fn code(&self) -> ExitCode {
        match self {
            Self::Read { source: ReadError::Io { .. }, .. } => ExitCode::USAGE,
            Self::Read { .. } => ExitCode::NOT_LOADED,
            Self::Open { .. } | Self::Write { .. } | Self::Encode { .. } => ExitCode::USAGE,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { source, .. } => source.hint(),
            Self::Write { .. } => Some("`--screenshots DIR` names a folder that may be written to"),
            Self::Open { .. } | Self::Encode { .. } => None,
        }
    }
}

/// Replays one recording and says what is in it, also where it is not whole.
pub(super) fn run(command: &ReplayCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let (replayed, error) = match replay(command) {
        Ok(replayed) => replayed,
        Err(error) => {
            complain(look, &chain(&error), error.hint());
            return error.code();
        }
    };
    let text = match command.json {
        true => report::replay::json(&replayed),
        false => report::replay::text(&replayed, look),
    };
    // A reader that went away, as `| head` does, changes nothing about the recording.
    if let Err(error) = anstream::stdout().write_all(text.as_bytes())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        complain(look, &format!("the summary cannot be written: {error}"), None);
    }
    if let Some(error) = error {
        complain(look, &chain(&error), error.hint());
        return error.code();
    }
    let has_failed = replayed.channels.values().any(|summary| !summary.errors.is_empty());
    if has_failed { ExitCode::FAILED } else { ExitCode::PASSED }
}

/// What could be replayed, and why not all of it.
fn replay(command: &ReplayCommand) -> Result<(Replayed, Option<ReplayError>), ReplayError> {
    let path = &command.file;
    let file = File::open(path).map_err(|source| ReplayError::Open { file: path.clone(), source })?;
    let damaged = |source| ReplayError::Read { file: path.clone(), source };
    let mut reader = Reader::open(BufReader::new(file)).map_err(damaged)?;
    let mut player = Player::new(Instant::now());
    let mut screens = Screens { folder: command.screenshots.as_deref(), ..Screens::default() };
    let mut failure = None;
    let played = play_settling(&mut player, &mut reader, command.pause, |at, player| {
        for (channel_id, surface) in player.screens() {
            if failure.is_none() {
                failure = screens.add(at, channel_id, surface).err();
            }
        }
    });
    let replayed = Replayed {
        file: path.clone(),
        bytes: reader.offset(),
        length: player.length(),
        sessions: player.sessions(),
        is_ended: reader.is_ended(),
        is_damaged: played.is_err(),
        channels: player.summary(),
        screens: screens.seen,
    };
    Ok((replayed, failure.or(played.map_err(damaged).err())))
}

/// The screens so far, each once in a row.
#[derive(Default)]
struct Screens<'a> {
    folder: Option<&'a Path>,
    last: HashMap<u8, String>,
    seen: Vec<SettledScreen>,
}

impl Screens<'_> {
    fn add(&mut self, at: Duration, channel_id: u8, surface: &Surface) -> Result<(), ReplayError> {
        let (width, height) = (surface.width(), surface.height());
        let sha256 = format!("{:x}", Sha256::digest(surface.pixels()));
        // Something blinked, or the channel was not the one that was drawn on.
        if self.last.get(&channel_id) == Some(&sha256) {
            return Ok(());
        }
        self.last.insert(channel_id, sha256.clone());
        let mut screen = SettledScreen { at, channel_id, width, height, sha256, file: None };
        if let Some(folder) = self.folder {
            let number = self.seen.len() + 1;
            let name = format!("{number:02}-display-{channel_id}-{}ms.png", at.as_millis());
            let path = folder.join(name);
            let shot = Screenshot { width, height, pixels: surface.pixels().to_vec() };
            let png = shot.to_png().map_err(|source| ReplayError::Encode { path: path.clone(), source })?;
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&path, png))
                .map_err(|source| ReplayError::Write { path: path.clone(), source })?;
            screen.file = Some(path);
        }
        self.seen.push(screen);
        Ok(())
    }
}
