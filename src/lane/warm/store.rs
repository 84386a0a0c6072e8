//! Saved machines below the artifacts: found by key, checked before use, published at once or not at all, bounded by
//! size. Everything here is safe to delete at any time; what is damaged or somebody else's is not used.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rand::Rng as _;
use rand::distributions::Alphanumeric;
use serde::{Deserialize, Serialize};
use visual_digest::crc32c;

use super::key::{FORMAT_VERSION, WarmKey};
use super::seen::Seen;

/// The folder below the artifacts.
pub const FOLDER: &str = "warm";
/// The machine's memory and devices, in a saved machine's folder.
pub const MEMORY: &str = "memory";
/// What its screen showed, when there is no digest to compare.
pub const SCREEN: &str = "screen.png";
/// How many bytes saved machines may take together where nobody says otherwise.
pub const DEFAULT_LIMIT_BYTES: u64 = 4 * 1_024 * 1_024 * 1_024;

const STATE: &str = "state.json";
const FORMAT: &str = "backstaff-warm";
/// Begins the names of folders that are not published yet.
const STAGING: &str = ".new-";
/// A staging folder this old belongs to nobody any more.
const STALE: Duration = Duration::from_secs(3_600);

/// The saved machines below one artifacts folder.
#[derive(Debug, Clone)]
pub struct WarmStore {
    folder: PathBuf,
    limit_bytes: u64,
}

/// A saved machine that was found whole. Its memory is open: deleting it takes nothing away from who holds this.
#[derive(Debug)]
pub struct SavedMachine {
    folder: PathBuf,
    memory: File,
    seen: Seen,
    /// A PNG.
    screen: Option<Vec<u8>>,
    files: Vec<SavedFile>,
}

/// A folder in the making.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
    is_published: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct StateFile {
    format: String,
    version: u32,
    key: String,
    profile: String,
    saved: Timestamp,
    files: Vec<SavedFile>,
    seen: Seen,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SavedFile {
    name: String,
    bytes: u64,
    crc32c: u32,
}

/// Why a saved machine cannot be used, or could not be kept.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is what its message says")]
pub enum StoreError {
    #[error("{path:?}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path:?} is no description of a saved machine: {message}")]
    Malformed { path: PathBuf, message: String },
    #[error("{path:?} is {got}, wanted {wanted}")]
    Foreign { path: PathBuf, got: String, wanted: String },
    #[error("{path:?} is damaged: {what}")]
    Damaged { path: PathBuf, what: String },
}

impl WarmStore {
    /// Saved machines below `artifacts`, taking at most `limit_bytes` together.
    pub fn new(artifacts: &Path, limit_bytes: u64) -> Self {
        Self { folder: artifacts.join(FOLDER), limit_bytes }
    }

    /// Finds the machine saved under `key`, and reads all of it once to see that it is whole.
    ///
    /// # Errors
    /// There is one and it cannot be used.
    pub fn find(&self, key: &WarmKey) -> Result<Option<SavedMachine>, StoreError> {
        let folder = self.folder.join(key.short());
        let path = folder.join(STATE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => return Ok(None),
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        check_owner(&folder)?;
        let state: StateFile = serde_json::from_str(&text)
            .map_err(|error| StoreError::Malformed { path: path.clone(), message: error.to_string() })?;
        let foreign = |got: String, wanted: String| StoreError::Foreign { path: path.clone(), got, wanted };
        if (state.format.as_str(), state.version) != (FORMAT, FORMAT_VERSION) {
            let got = format!("{} version {}", state.format, state.version);
            return Err(foreign(got, format!("{FORMAT} version {FORMAT_VERSION}")));
        }
        if state.key != key.as_str() {
            return Err(foreign(format!("saved under {}", state.key), key.as_str().to_owned()));
        }
        let mut memory = None;
        for file in &state.files {
            let open = check_file(&folder, file)?;
            if file.name == MEMORY {
                memory = Some(open);
            }
        }
        let damaged = || StoreError::Damaged { path: folder.clone(), what: "it has no memory".to_owned() };
        let memory = memory.ok_or_else(damaged)?;
        let has_screen = state.files.iter().any(|file| file.name == SCREEN);
        let path_of_screen = folder.join(SCREEN);
        let screen = has_screen.then(|| fs::read(&path_of_screen)).transpose();
        let screen = screen.map_err(|source| StoreError::Io { path: path_of_screen, source })?;
        // The oldest go first when there is no room: this one was just of use.
        let _ = File::options().append(true).open(&path).and_then(|it| it.set_modified(SystemTime::now()));
        Ok(Some(SavedMachine { folder, memory, seen: state.seen, screen, files: state.files }))
    }

    /// Begins a folder for a machine that is about to be saved.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn begin(&self) -> Result<Staging, StoreError> {
        let random: String = rand::thread_rng().sample_iter(Alphanumeric).take(8).map(char::from).collect();
        let folder = self.folder.join(format!("{STAGING}{}-{random}", std::process::id()));
        // Memory may hold secrets that were typed.
        let made =
            fs::create_dir_all(&self.folder).and_then(|()| fs::DirBuilder::new().mode(0o700).create(&folder));
        made.map_err(|source| StoreError::Io { path: folder.clone(), source })?;
        Ok(Staging { folder, is_published: false })
    }

    /// Makes what was staged the machine saved under `key`, in one step, and then makes room.
    ///
    /// # Errors
    /// It cannot be described or moved; it is gone then.
    pub fn publish(
        &self,
        mut staging: Staging,
        key: &WarmKey,
        profile: &str,
        seen: Seen,
    ) -> Result<(), StoreError> {
        let state = StateFile {
            format: FORMAT.to_owned(),
            version: FORMAT_VERSION,
            key: key.as_str().to_owned(),
            profile: profile.to_owned(),
            saved: Timestamp::now(),
            files: describe(&staging.folder)?,
            seen,
        };
        let path = staging.folder.join(STATE);
        let text = serde_json::to_string_pretty(&state).unwrap_or_default();
        fs::write(&path, text + "\n").map_err(|source| StoreError::Io { path, source })?;
        let target = self.folder.join(key.short());
        match fs::rename(&staging.folder, &target) {
            Ok(()) => staging.is_published = true,
            // Another run was faster. Its machine is as good as ours.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) => {}
            Err(source) => return Err(StoreError::Io { path: target, source }),
        }
        self.make_room(key);
        Ok(())
    }

    /// Throws the machine saved under `key` away. Whoever restores from it at this moment is not disturbed.
    pub fn discard(&self, key: &WarmKey) {
        // It may be gone already, and what cannot be removed is refused again next time.
        let _ = fs::remove_dir_all(self.folder.join(key.short()));
    }

    /// Removes the oldest until the limit is kept; never the one under `key`.
    fn make_room(&self, key: &WarmKey) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut kept = Vec::new();
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let used = |file: &Path| fs::metadata(file).and_then(|facts| facts.modified());
            let age = |time: SystemTime| time.elapsed().unwrap_or_default();
            if name.starts_with(STAGING) {
                if used(&path).is_ok_and(|time| age(time) > STALE) {
                    let _ = fs::remove_dir_all(&path);
                }
            } else if let Ok(used) = used(&path.join(STATE)) {
                kept.push((used, size_of(&path), name == key.short(), path));
            }
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, bytes, ..)| bytes).sum();
        for (_, bytes, is_newest, path) in kept {
            if total <= self.limit_bytes {
                return;
            }
            if !is_newest && fs::remove_dir_all(&path).is_ok() {
                total = total.saturating_sub(bytes);
            }
        }
    }
}

impl SavedMachine {
    /// The machine's memory and devices.
    pub fn memory(&self) -> &File {
        &self.memory
    }

    /// What the oracles saw when it was saved.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// What the screen showed when it was saved, as a PNG, for machines without a digest.
    pub fn screen(&self) -> Option<&[u8]> {
        self.screen.as_deref()
    }

    /// Copies what belongs into a lane's folder there: disks, firmware variables, the serial log so far.
    ///
    /// # Errors
    /// Something cannot be copied.
    pub fn lay_out(&self, lane_folder: &Path) -> Result<(), StoreError> {
        for file in self.files.iter().filter(|file| ![MEMORY, SCREEN].contains(&file.name.as_str())) {
            let path = lane_folder.join(&file.name);
            fs::copy(self.folder.join(&file.name), &path)
                .map_err(|source| StoreError::Io { path, source })?;
        }
        Ok(())
    }
}

impl Staging {
    /// Where the files go.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_published {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A folder that somebody else can write to may hold any machine.
fn check_owner(folder: &Path) -> Result<(), StoreError> {
    let facts =
        fs::symlink_metadata(folder).map_err(|source| StoreError::Io { path: folder.to_owned(), source })?;
    let us = rustix::process::geteuid().as_raw();
    let foreign = |got: String, wanted: String| StoreError::Foreign { path: folder.to_owned(), got, wanted };
    if facts.uid() != us {
        return Err(foreign(format!("user {}'s", facts.uid()), format!("user {us}'s")));
    }
    if !facts.is_dir() || facts.mode() & 0o022 != 0 {
        let got = format!("of mode {:o}", facts.mode());
        return Err(foreign(got, "a folder that nobody else can write to".to_owned()));
    }
    Ok(())
}

fn check_file(folder: &Path, file: &SavedFile) -> Result<File, StoreError> {
    let path = folder.join(&file.name);
    let damaged = |what: String| StoreError::Damaged { path: path.clone(), what };
    // A name is a name, not a way out of the folder.
    if file.name.contains('/') || file.name.starts_with('.') {
        return Err(damaged("its name is none of a saved machine's".to_owned()));
    }
    let failed = |source| StoreError::Io { path: path.clone(), source };
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut open = File::options().read(true).custom_flags(no_follow).open(&path).map_err(failed)?;
    let (bytes, checksum) = checksum(&mut open).map_err(failed)?;
    if bytes != file.bytes {
        return Err(damaged(format!("{bytes} bytes, wanted {}", file.bytes)));
    }
    if checksum != file.crc32c {
        return Err(damaged(format!("checksum {checksum:08x}, wanted {:08x}", file.crc32c)));
    }
    // QEMU reads from where the descriptor stands.
    io::Seek::rewind(&mut open).map_err(failed)?;
    Ok(open)
}

fn describe(folder: &Path) -> Result<Vec<SavedFile>, StoreError> {
    let failed = |source| StoreError::Io { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let (bytes, crc32c) = File::open(&path)
            .and_then(|mut file| checksum(&mut file))
            .map_err(|source| StoreError::Io { path: path.clone(), source })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(SavedFile { name, bytes, crc32c });
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

/// Length and CRC32C: against damage, not against malice.
fn checksum(file: &mut File) -> io::Result<(u64, u32)> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut bytes, mut sum) = (0_u64, crc32c::checksum(&[]));
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((bytes, sum)),
            Ok(read) => {
                sum = crc32c::extend(sum, &buffer[..read]);
                bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    // What it takes, not how long its files are: memory is saved with holes.
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|facts| facts.blocks() * 512).sum()
}

const BUFFER_BYTES: usize = 1_024 * 1_024;
