//! Finds firmware descriptors on this host. What they say is [`firmware`](super::firmware)'s to read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::firmware::{Descriptor, FirmwareFiles};

/// A descriptor file.
#[derive(Debug)]
pub(super) struct DescriptorFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What it says, or why that is not known.
    pub(super) content: Result<Descriptor, String>,
}

/// The descriptors in force below `system_root`, in the order in which they are to be tried: that of their names.
///
/// A file of the administrator takes the place of a distribution's with the same name, and hides it when empty. The
/// folder in a user's home is left out: a plan must not depend on who asks for it.
pub(super) fn descriptors(system_root: &Path) -> Vec<DescriptorFile> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for folder in FOLDERS {
        let entries = fs::read_dir(system_root.join(folder)).into_iter().flatten().flatten();
        let named = entries.map(|entry| (entry.file_name(), entry.path()));
        files.extend(named.filter(|(_, path)| path.extension().is_some_and(|extension| extension == "json")));
    }
    files.into_values().filter_map(read).collect()
}

/// The files that lanes could start, below the root, as the descriptors have them.
pub(super) fn described(system_root: &Path) -> Vec<FirmwareFiles> {
    let found = descriptors(system_root).into_iter().filter_map(|file| file.content.ok());
    found.filter(Descriptor::is_for_pc).filter_map(|descriptor| descriptor.fit_files().ok()).collect()
}

/// Returns `name`, an absolute path of the host, as it lies below `system_root`.
pub(super) fn below(system_root: &Path, name: &str) -> PathBuf {
    system_root.join(name.trim_start_matches('/'))
}

/// Nothing where the file hides another one.
fn read(path: PathBuf) -> Option<DescriptorFile> {
    let text = || -> std::io::Result<String> {
        let mut text = String::new();
        // What is no plain file, such as a link to /dev/null, has nothing to say.
        if fs::metadata(&path)?.is_file() {
            File::open(&path)?.take(MOST_BYTES).read_to_string(&mut text)?;
        }
        Ok(text)
    };
    let content = match text() {
        Ok(text) if text.is_empty() => return None,
        Ok(text) => Descriptor::parse(&text).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    Some(DescriptorFile { path, content })
}

/// Below the system's root, the general one first.
const FOLDERS: [&str; 2] = ["usr/share/qemu/firmware", "etc/qemu/firmware"];
/// Descriptors have less than a kilobyte.
const MOST_BYTES: u64 = 1_048_576;
