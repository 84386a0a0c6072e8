//! What lies in the files that a plan names: their SHA-256, or what else tells them apart when they are large.
//!
//! Hashes are kept for the life of the program, as long as a file's place, size and time stay the same.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::plan::{Content, Contents, FileIdentity, InputFile};
use super::profile::DiskFormat;
use super::qcow2::{HEADER_BYTES, Header};

/// Files up to this many bytes are hashed.
pub const LARGEST_HASHED: u64 = 256 * 1024 * 1024;

/// Looks at `files`.
pub fn look(files: &[InputFile]) -> Contents {
    let look = |file: &InputFile| (file.source.clone(), content(&file.source, file.format));
    Contents(files.iter().map(look).collect())
}

/// Returns `sha256:<hex>` of a file, nothing above [`LARGEST_HASHED`].
///
/// # Errors
/// It cannot be read.
pub fn hash(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    hash_of(path, &mut file, &metadata)
}

fn content(path: &Path, format: Option<DiskFormat>) -> Content {
    match read(path, format) {
        Ok(content) => content,
        Err(error) => Content::Unusable(format!("cannot be read: {error}")),
    }
}

fn read(path: &Path, format: Option<DiskFormat>) -> io::Result<Content> {
    // Opening a pipe would wait for somebody to write to it.
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Ok(Content::Unusable("is no file".to_owned()));
    }
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if format == Some(DiskFormat::Qcow2) {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        (&file).take(HEADER_BYTES as u64).read_to_end(&mut header)?;
        io::Seek::rewind(&mut file)?;
        match Header::parse(&header) {
            None => return Ok(Content::Unusable("is no qcow2 image".to_owned())),
            Some(header) if header.needs_other_files => {
                return Ok(Content::Unusable(
                    "is a qcow2 image that needs further files; `qemu-img convert` makes one image of them"
                        .to_owned(),
                ));
            }
            Some(_) => {}
        }
    }
    Ok(Content::Known {
        size_bytes: metadata.len(),
        sha256: hash_of(path, &mut file, &metadata)?,
        identity: identity(&metadata),
    })
}

fn identity(metadata: &Metadata) -> FileIdentity {
    FileIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
        size_bytes: metadata.len(),
        modified_s: metadata.mtime(),
        modified_ns: metadata.mtime_nsec(),
    }
}

fn hash_of(path: &Path, file: &mut File, metadata: &Metadata) -> io::Result<Option<String>> {
    static KNOWN: Mutex<Option<HashMap<(PathBuf, FileIdentity), String>>> = Mutex::new(None);
    if metadata.len() > LARGEST_HASHED || !metadata.is_file() {
        return Ok(None);
    }
    let key = (path.to_owned(), identity(metadata));
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(hash) = known().as_ref().and_then(|known| known.get(&key).cloned()) {
        return Ok(Some(hash));
    }
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => digest.update(&buffer[..length]),
        }
    }
    let hash = format!("sha256:{:x}", digest.finalize());
    known().get_or_insert_default().insert(key, hash.clone());
    Ok(Some(hash))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Content, LARGEST_HASHED, hash, look};
    use crate::lane::plan::{FileRole, InputFile};
    use crate::lane::profile::DiskFormat;
    use crate::lane::qcow2::overlay;

    fn input(source: PathBuf, format: Option<DiskFormat>) -> InputFile {
        InputFile {
            role: FileRole::Disk,
            path: String::new(),
            sha256: None,
            size_bytes: None,
            source,
            identity: None,
            format,
        }
    }

    fn content(bytes: &[u8], format: DiskFormat) -> Content {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        std::fs::write(&path, bytes).unwrap();
        look(&[input(path.clone(), Some(format))]).0.remove(&path).unwrap()
    }

    #[test]
    fn a_changed_file_is_hashed_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel");
        std::fs::write(&path, "abc").unwrap();
        let first = hash(&path).unwrap().unwrap();
        assert_eq!(first, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hash(&path).unwrap().unwrap(), first);
        std::fs::write(&path, "abcd").unwrap();
        assert_ne!(hash(&path).unwrap().unwrap(), first);
    }

    #[test]
    fn a_large_file_is_told_by_its_identity() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::File::create(&path).unwrap().set_len(LARGEST_HASHED + 1).unwrap();
        let content = look(&[input(path.clone(), None)]).0.remove(&path).unwrap();
        let Content::Known { size_bytes, sha256, identity } = content else { panic!("{content:?}") };
        assert_eq!((size_bytes, sha256), (LARGEST_HASHED + 1, None));
        assert_eq!(identity.size_bytes, LARGEST_HASHED + 1);
    }

    #[test]
    fn what_is_missing_or_something_else_says_so() {
        let why = |content: Content| match content {
            Content::Unusable(why) => why,
            other => panic!("{other:?}"),
        };
        let missing = PathBuf::from("/nowhere/disk");
        let found = look(&[input(missing.clone(), None)]).0.remove(&missing).unwrap();
        assert_eq!(why(found), "cannot be read: No such file or directory (os error 2)");
        assert_eq!(why(content(b"raw", DiskFormat::Qcow2)), "is no qcow2 image");
        let mut chained = overlay(512).unwrap();
        chained[15] = 104;
        assert!(why(content(&chained, DiskFormat::Qcow2)).contains("further files"));
        assert!(matches!(content(&overlay(512).unwrap(), DiskFormat::Qcow2), Content::Known { .. }));
        assert!(matches!(content(b"raw", DiskFormat::Raw), Content::Known { size_bytes: 3, .. }));
    }
}
