//! The name of the socket in the file system: taken with care, given back at the end.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// What the address of a socket holds.
pub const MOST_PATH_BYTES: usize = 107;

/// Why there is no socket at a path.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is what its message says")]
pub enum BindError {
    #[error("the path {path:?} has {length} bytes, and a socket's path at most {MOST_PATH_BYTES}")]
    TooLong { path: PathBuf, length: usize },
    #[error("{path:?} is there already, and is no socket")]
    NoSocket { path: PathBuf },
    #[error("another server answers on {path:?}")]
    InUse { path: PathBuf },
    #[error("look whether a server answers on {path:?}")]
    Unclear { path: PathBuf, source: io::Error },
    #[error("remove the socket that a server left at {path:?}")]
    Remove { path: PathBuf, source: io::Error },
    #[error("make a socket at {path:?}")]
    Make { path: PathBuf, source: io::Error },
}

impl BindError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "name a shorter one, or one that is relative to the working directory",
            Self::NoSocket { .. } => "it is left as it is; name another path, or remove it yourself",
            Self::InUse { .. } => "end that server, or name another path",
            Self::Unclear { .. } | Self::Remove { .. } => "is it yours? another path may do",
            Self::Make { source, .. } if source.kind() == io::ErrorKind::NotFound => "make its folder first",
            Self::Make { .. } => "can its folder be written to?",
        }
    }
}

/// A name that is ours. The file goes when this is dropped, unless somebody has put another one in its place.
#[derive(Debug)]
pub struct SocketName {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketName {
    /// Makes a socket at `path` that only this user can connect to, in place of one that a dead server has left.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: &Path) -> Result<(Self, UnixListener), BindError> {
        let length = path.as_os_str().len();
        if length > MOST_PATH_BYTES {
            return Err(BindError::TooLong { path: path.to_owned(), length });
        }
        make_room(path)?;
        listen(path).map_err(|source| BindError::Make { path: path.to_owned(), source })
    }

    /// Removes the file, if it is still ours.
    pub fn remove(&self) {
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if is_ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketName {
    fn drop(&mut self) {
        self.remove();
    }
}

fn make_room(path: &Path) -> Result<(), BindError> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let path = path.to_owned();
    if !metadata.file_type().is_socket() {
        return Err(BindError::NoSocket { path });
    }
    match UnixStream::connect(&path) {
        Ok(_) => Err(BindError::InUse { path }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(&path).map_err(|source| BindError::Remove { path, source })
        }
        // It went in this moment.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Its backlog is full: somebody is there, though busy.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(BindError::InUse { path }),
        Err(source) => Err(BindError::Unclear { path, source }),
    }
}

fn listen(path: &Path) -> io::Result<(SocketName, UnixListener)> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let metadata = std::fs::symlink_metadata(path)?;
    let name = SocketName { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) };
    // Before it listens, so that nobody slips in who may not.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok((name, UnixListener::from(socket)))
}

const BACKLOG: i32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_private_and_gone_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let (name, _listener) = SocketName::bind(&path).unwrap();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(name);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_server_left_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (name, _listener) = SocketName::bind(&path).unwrap();
        assert!(matches!(SocketName::bind(&path), Err(BindError::InUse { .. })));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "a letter").unwrap();
        drop(name);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a letter", "it is not ours any more");
        assert!(matches!(SocketName::bind(&path), Err(BindError::NoSocket { .. })));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(SocketName::bind(&link), Err(BindError::NoSocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a letter");
    }

    #[test]
    fn impossible_paths_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = SocketName::bind(&folder.path().join("no/control")).unwrap_err();
        assert_eq!(missing.hint(), "make its folder first");
        let long = SocketName::bind(&folder.path().join("x".repeat(108))).unwrap_err();
        assert!(long.to_string().contains("at most 107"), "{long}");
    }
}
