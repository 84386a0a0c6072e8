//! Connects to sockets in a lane's folder, however long the folder's path is.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::net::UnixStream;
use tokio::time::Instant;

/// What the address of a socket holds.
pub(super) const MOST_PATH_BYTES: usize = 107;
/// Between two looks: there is no event for "this socket now listens".
const RETRY: Duration = Duration::from_millis(5);
/// For the socket to be there at all. QEMU makes its sockets first of all; one that is not there any more has been
/// removed.
const APPEARS: Duration = Duration::from_secs(5);

/// Why a socket could not be connected to.
#[derive(Debug, thiserror::Error)]
#[error("connect to {} for {:.1} s", .path.display(), .waited.as_secs_f64())]
pub struct ConnectError {
    /// The socket.
    pub path: PathBuf,
    /// For how long it was tried.
    pub waited: Duration,
    /// The last refusal.
    pub source: io::Error,
}

/// Connects to the socket `name` in `folder` as soon as it is there and listens, trying for at most `deadline`.
///
/// The path handed to the system goes through a descriptor of the folder, so only `name` counts toward the
/// limit of [`MOST_PATH_BYTES`]. Cancel safe; race it against the end of the process that is to listen.
///
/// # Errors
///
/// When the deadline passes, or at once when the failure is one that waiting does not cure.
pub async fn connect(folder: &Path, name: &str, deadline: Duration) -> Result<UnixStream, ConnectError> {
    let started = Instant::now();
    let failed = |source| ConnectError { path: folder.join(name), waited: started.elapsed(), source };
    let handle = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| failed(errno.into()))?;
    let short = format!("/proc/self/fd/{}/{name}", handle.as_raw_fd());
    loop {
        let error = match UnixStream::connect(&short).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let limit = match error.kind() {
            io::ErrorKind::NotFound => deadline.min(APPEARS),
            io::ErrorKind::ConnectionRefused => deadline,
            _ => Duration::ZERO,
        };
        if started.elapsed() + RETRY > limit {
            return Err(failed(error));
        }
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use tokio::net::UnixListener;

    #[tokio::test]
    async fn a_folder_too_deep_for_a_socket_path_is_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let short = root.path().join("s");
        std::os::unix::fs::symlink(&deep, &short).unwrap();
        let _listener = UnixListener::bind(short.join("qmp.sock")).unwrap();
        super::connect(&deep, "qmp.sock", Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_never_comes_is_given_up_at_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let error = super::connect(folder.path(), "qmp.sock", Duration::from_millis(30)).await.unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("qmp.sock"), "{error}");
    }
}
