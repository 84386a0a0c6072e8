//! QEMU's life as a process: born in the lane's folder and in a group of its own, watched to its end, and never
//! left behind, whatever ends us.
//!
//! Three things see to the last point. Dropping a [`QemuProcess`] kills the group. The kernel kills QEMU when
//! this program dies without a chance to do so itself. And whatever QEMU left in its group dies with it.
//!
//! It decides nothing about *when* to end; that is [`teardown`](super::teardown)'s work.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::Serialize;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::readable::watch_readable;

/// How much of QEMU's log is quoted, in bytes.
const LAST_WORDS_BYTES: u64 = 4_096;

/// What to start.
#[derive(Debug, Clone, Copy)]
pub struct SpawnOptions<'a> {
    /// Program and arguments.
    pub argv: &'a [String],
    /// The lane's folder: QEMU's working directory.
    pub folder: &'a Path,
    /// Name in that folder of the file which takes what QEMU prints; appended to.
    pub log: &'a str,
}

/// Why QEMU could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The argv has no program.
    #[error("the argv is empty")]
    EmptyArgv,
    /// The log could not be opened.
    #[error("open {path:?} for QEMU's output")]
    Log {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system refused.
    #[error("start {program:?} in {folder:?}")]
    Start {
        /// The program.
        program: String,
        /// The lane's folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It runs but could not be watched; it was killed.
    #[error("watch process {pid}")]
    Watch {
        /// The process.
        pid: i32,
        /// Why.
        source: io::Error,
    },
}

/// How QEMU ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExitFacts {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// How long it lived.
    #[serde(skip)]
    pub ran_for: Duration,
    /// The end of what it printed, at most 4 KiB.
    pub last_words: String,
}

impl ExitFacts {
    /// Returns whether it ended by itself and without complaint.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

impl std::fmt::Display for ExitFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "status {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("an unknown status"),
        }?;
        write!(f, " after {:.1} s", self.ran_for.as_secs_f64())
    }
}

/// A running QEMU, or one that has ended. Dropping it kills the process group at once.
#[derive(Debug)]
pub struct QemuProcess {
    pid: i32,
    shared: Arc<Shared>,
    exit: ExitWatch,
    _kill_on_drop: DropGuard,
}

impl QemuProcess {
    /// Starts QEMU. Must be called within a Tokio runtime, which then watches the process.
    ///
    /// # Errors
    ///
    /// When it cannot be started or watched; nothing runs then.
    pub async fn spawn(options: SpawnOptions<'_>) -> Result<Self, SpawnError> {
        let log_path = options.folder.join(options.log);
        let command = command(options, &log_path)?;
        let refused = |source| SpawnError::Start {
            program: options.argv.first().cloned().unwrap_or_default(),
            folder: options.folder.to_owned(),
            source,
        };
        let shared = Arc::new(spawn_on_lasting_thread(command).await.map_err(refused)?);
        let born = Instant::now();
        let pid = shared.pid().ok_or_else(|| refused(io::Error::other("process id out of range")))?;
        let pidfd =
            watch_pid(pid).map_err(|source| SpawnError::Watch { pid: pid.as_raw_nonzero().get(), source })?;

        let (sender, receiver) = watch::channel(None);
        let dropped = CancellationToken::new();
        let reaper = Reaper { shared: Arc::clone(&shared), log_path, born };
        tokio::spawn(reaper.run(pidfd, dropped.clone(), sender));
        Ok(Self {
            pid: pid.as_raw_nonzero().get(),
            shared,
            exit: ExitWatch { receiver },
            _kill_on_drop: dropped.drop_guard(),
        })
    }

    /// Returns the process id, which is also its group's.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns a handle that sees the end and keeps nothing alive.
    pub fn exit_watch(&self) -> ExitWatch {
        self.exit.clone()
    }

    /// Waits for the end. Cancel safe.
    pub async fn exited(&self) -> Arc<ExitFacts> {
        self.exit.clone().wait().await
    }

    /// Sends SIGTERM to the group; returns whether there was anything to send it to.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn terminate(&self) -> io::Result<bool> {
        self.shared.signal_group(Signal::TERM)
    }

    /// Sends SIGKILL to the group; returns whether there was anything to send it to.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn kill(&self) -> io::Result<bool> {
        self.shared.signal_group(Signal::KILL)
    }
}

/// Sees the end of a [`QemuProcess`].
#[derive(Debug, Clone)]
pub struct ExitWatch {
    receiver: watch::Receiver<Option<Arc<ExitFacts>>>,
}

impl ExitWatch {
    /// Returns how it ended, if it has.
    pub fn now(&self) -> Option<Arc<ExitFacts>> {
        self.receiver.borrow().clone()
    }

    /// Waits for the end. Cancel safe.
    pub async fn wait(&mut self) -> Arc<ExitFacts> {
        let ended = self.receiver.wait_for(Option::is_some).await.ok().and_then(|facts| facts.clone());
        // Without a value the watching runtime is gone, and the process with it.
        ended.unwrap_or_else(|| {
            let last_words = "the runtime that watched it has ended".to_owned();
            Arc::new(ExitFacts { code: None, signal: None, ran_for: Duration::ZERO, last_words })
        })
    }
}

impl IntoFuture for ExitWatch {
    type Output = Arc<ExitFacts>;
    type IntoFuture = Pin<Box<dyn Future<Output = Arc<ExitFacts>> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move { self.wait().await })
    }
}

fn command(options: SpawnOptions<'_>, log_path: &Path) -> Result<Command, SpawnError> {
    let (program, arguments) = options.argv.split_first().ok_or(SpawnError::EmptyArgv)?;
    let open = || {
        let log = File::options().append(true).create(true).open(log_path)?;
        Ok((log.try_clone()?, log))
    };
    let (stdout, stderr) = open().map_err(|source| SpawnError::Log { path: log_path.to_owned(), source })?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(options.folder)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0);
    die_with_us(&mut command);
    Ok(command)
}

/// Has the kernel kill the child when the thread that starts it ends.
#[expect(unsafe_code, reason = "there is no safe way to run code between fork and exec")]
fn die_with_us(command: &mut Command) {
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec the closure makes two system calls without allocating or taking a lock, and
    // constructs only `io::Error`s that need no heap.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the kernel was told to watch it.
            if rustix::process::getppid() == Some(parent) {
                Ok(())
            } else {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        });
    }
}

type SpawnRequest = (Command, oneshot::Sender<io::Result<Shared>>);

/// Starts a child from a thread that lives as long as the program.
///
/// The parent-death signal follows the *thread* that forked: a child of one of the runtime's threads would be
/// killed as soon as that thread is retired.
async fn spawn_on_lasting_thread(command: Command) -> io::Result<Shared> {
    static SPAWNER: OnceLock<Result<mpsc::Sender<SpawnRequest>, io::ErrorKind>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<SpawnRequest>();
        let run = move || {
            for (mut command, reply) in receiver {
                let spawned = command.spawn().map(|child| Shared { child: Mutex::new(Some(child)) });
                // If whoever asked is gone, dropping the answer kills the child.
                let _ = reply.send(spawned);
            }
        };
        let thread = std::thread::Builder::new().name("lane-spawner".to_owned()).spawn(run);
        thread.map(|_| sender).map_err(|error| error.kind())
    });
    let spawner = spawner.as_ref().map_err(|kind| io::Error::from(*kind))?;
    let (reply, answer) = oneshot::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    spawner.send((command, reply)).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

fn watch_pid(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    watch_readable(pidfd)
}

/// The child, for as long as its id is ours to signal.
///
/// INVARIANT: `child` is `Some` until it was waited for, so its id and its group's cannot have been given to
/// anybody else.
#[derive(Debug)]
struct Shared {
    child: Mutex<Option<Child>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pid(&self) -> Option<Pid> {
        self.lock().as_ref().and_then(pid_of)
    }

    fn signal_group(&self, signal: Signal) -> io::Result<bool> {
        let child = self.lock();
        let Some(pid) = child.as_ref().and_then(pid_of) else { return Ok(false) };
        signal_group(pid, signal)
    }

    /// Waits for a child that is known to have ended, or is about to.
    fn reap(&self) -> Option<std::process::ExitStatus> {
        let mut child = self.lock();
        // While the leader is a zombie its group's id is still reserved, so this hits only what it left behind.
        if let Some(pid) = child.as_ref().and_then(pid_of) {
            let _ = signal_group(pid, Signal::KILL);
        }
        child.take()?.wait().ok()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // There is something left to do only if nobody came to watch, or the runtime was shut down.
        self.reap();
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

fn signal_group(group: Pid, signal: Signal) -> io::Result<bool> {
    match rustix::process::kill_process_group(group, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

struct Reaper {
    shared: Arc<Shared>,
    log_path: PathBuf,
    born: Instant,
}

impl Reaper {
    async fn run(
        self,
        pidfd: AsyncFd<OwnedFd>,
        dropped: CancellationToken,
        ended: watch::Sender<Option<Arc<ExitFacts>>>,
    ) {
        tokio::select! {
            // Both arms only observe. An error means the runtime is going away; then the child must go, too.
            _ = pidfd.readable() => {}
            () = dropped.cancelled() => {
                let _ = self.shared.signal_group(Signal::KILL);
                let _ = pidfd.readable().await;
            }
        }
        let status = self.shared.reap();
        ended.send_replace(Some(Arc::new(ExitFacts {
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            ran_for: self.born.elapsed(),
            last_words: last_words(&self.log_path),
        })));
    }
}

/// Returns the end of a log, from the start of a line where possible. An unreadable log has no last words.
pub(super) fn last_words(path: &Path) -> String {
    let read = || -> io::Result<(u64, Vec<u8>)> {
        let mut log = File::open(path)?;
        let start = log.metadata()?.len().saturating_sub(LAST_WORDS_BYTES);
        log.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        log.take(LAST_WORDS_BYTES).read_to_end(&mut bytes)?;
        Ok((start, bytes))
    };
    let (start, bytes) = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let whole_lines = if start > 0 { text.split_once('\n').map_or(&*text, |(_, rest)| rest) } else { &text };
    whole_lines.trim_end().to_owned()
}
