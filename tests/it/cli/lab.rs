//! The program as people run it: in a fresh folder, without this host's settings, under a deadline, and with a look at
//! what it left behind.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use backstaff::lane::Platform;
use backstaff::lane::platform_detect::DetectConfig;
use rustix::process::{Pid, Signal};

use super::rom::{ROM_LANE, rom};

/// A folder to run the program in. Everything in it that is not under `logs` must still be the same afterwards.
pub(crate) struct Lab {
    /// Without links, as the kernel names it.
    root: PathBuf,
    _folder: tempfile::TempDir,
    _turn: Option<Turn>,
}

impl Lab {
    /// An empty folder. Nothing in it can boot a machine.
    pub(crate) fn bare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Self { root: folder.path().canonicalize().unwrap(), _folder: folder, _turn: None };
        for own in ["home", "tmp"] {
            std::fs::create_dir(lab.path(own)).unwrap();
        }
        lab
    }

    /// With the default lane `rom`: a machine that is up in no time, writes the line `rom: one line` and the prompt
    /// `rom: login: `, and rests. Nothing where this host cannot run it; says so.
    pub(crate) fn with_rom(test: &str) -> Option<Self> {
        let platform = platform_or_skip(test)?;
        if !platform.has_spice {
            skipped(test, "this QEMU has no SPICE");
            return None;
        }
        let lab = Self { _turn: Some(Turn::wait()), ..Self::bare() };
        std::fs::create_dir(lab.path("lanes")).unwrap();
        std::fs::write(lab.path("lanes/rom.bin"), rom()).unwrap();
        Some(lab.file("lanes/rom.toml", ROM_LANE).file("backstaff.toml", "lane = \"rom\"\n"))
    }

    /// With the default lane `sextant`: the reference guest, under TCG.
    pub(crate) fn with_guest(test: &str) -> Option<Self> {
        let platform = platform_or_skip(test)?;
        if platform.firmware.single.is_none() && platform.firmware.pair.is_none() {
            skipped(test, "no OVMF on this host");
            return None;
        }
        let lab = Self::with_rom(test)?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::copy(root.join("fixtures/guest/sextant.efi"), lab.path("lanes/sextant.efi")).unwrap();
        let profile = std::fs::read_to_string(root.join("scenarios/lanes/sextant.toml")).unwrap();
        let profile = profile
            .replace("../../fixtures/guest/sextant.efi", "sextant.efi")
            .replace("accel = \"auto\"", "accel = \"tcg\"");
        Some(lab.file("lanes/sextant.toml", &profile).file("backstaff.toml", "lane = \"sextant\"\n"))
    }

    /// Writes a file, with the folders on its way.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Writes `a.lua` with one scenario `it` of this body.
    pub(crate) fn scenario(self, options: &str, body: &str) -> Self {
        self.file("a.lua", &format!("scenario(\"it\", {{ {options} }}, function(t)\n{body}\nend)\n"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// `backstaff` with these arguments, in this folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Invocation<'_> {
        let mut command = Command::new(BACKSTAFF);
        command.args(arguments);
        Invocation::new(self, command)
    }

    /// A shell script in this folder, in which `backstaff` is this program; both outputs are one.
    pub(crate) fn shell(&self, script: &str) -> Invocation<'_> {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec 2>&1\n{script}")]);
        let own = Path::new(BACKSTAFF).parent().unwrap().to_str().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        Invocation::new(self, command).env("PATH", format!("{own}:{path}"))
    }

    /// The same on a pseudo-terminal, or nothing where no tool makes one; says so.
    pub(crate) fn command_on_terminal(&self, test: &str, arguments: &[&str]) -> Option<Invocation<'_>> {
        if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
            skipped(test, "no `script` to make a pseudo-terminal");
            return None;
        }
        let words = std::iter::once(BACKSTAFF).chain(arguments.iter().copied());
        let line: Vec<String> = words.map(|word| format!("'{word}'")).collect();
        let mut command = Command::new("script");
        command.args(["-qec", &line.join(" "), "/dev/null"]);
        Some(Invocation::new(self, command).env("TERM", "xterm").env("SHELL", "/bin/sh"))
    }

    /// The same as the user `nobody`, for root only; nothing where no tool changes users, and says so. The folder can
    /// then be looked at by everybody.
    pub(crate) fn command_as_nobody(&self, test: &str, arguments: &[&str]) -> Option<Invocation<'_>> {
        use std::os::unix::fs::PermissionsExt as _;
        if Command::new("setpriv").arg("--version").stdout(Stdio::null()).status().is_err() {
            skipped(test, "no `setpriv` to change users");
            return None;
        }
        std::fs::set_permissions(&self.root, std::fs::Permissions::from_mode(0o755)).unwrap();
        // The program may lie where nobody else can go. Copied by another process: what a thread here had open for
        // writing may be busy when it is to be run.
        let copy = self.path("backstaff");
        if !copy.exists() {
            assert!(Command::new("cp").arg(BACKSTAFF).arg(&copy).status().unwrap().success());
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&copy).args(arguments);
        Some(Invocation::new(self, command))
    }

    /// Runs `backstaff` with these arguments to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.command(arguments).run()
    }

    /// The run's folder, when there was exactly one run.
    pub(crate) fn run_folder(&self) -> PathBuf {
        let folders = self.run_folders();
        let [folder] = &*folders else { panic!("one run wanted, got {folders:?}") };
        folder.clone()
    }

    /// The folders of all runs, the oldest first.
    pub(crate) fn run_folders(&self) -> Vec<PathBuf> {
        run_folders(&self.path("logs"))
    }

    /// The folder of the only session.
    pub(crate) fn session_folder(&self) -> PathBuf {
        only(&self.path("logs/repl"))
    }

    /// The folder of the only saved machine.
    pub(crate) fn saved_machine(&self) -> PathBuf {
        only(&self.path("logs/warm"))
    }

    /// The journal of the only scenario's first attempt in the newest run.
    pub(crate) fn newest_journal(&self) -> String {
        let run = self.run_folders().pop().unwrap();
        std::fs::read_to_string(only_folder(&run).join("attempt-1/journal.ndjson")).unwrap()
    }

    /// The folder of the only attempt of the only scenario of the only run.
    pub(crate) fn attempt(&self) -> PathBuf {
        only_folder(&self.run_folder()).join("attempt-1")
    }

    /// Waits until the file holds the text.
    pub(crate) fn wait_for_file(&self, path: &Path, text: &str) {
        let limit = Instant::now() + DEADLINE;
        while !std::fs::read_to_string(path).is_ok_and(|file| file.contains(text)) {
            assert!(Instant::now() < limit, "{text:?} never came into {}", path.display());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ids of the QEMUs that run somewhere below this folder.
    pub(crate) fn qemus(&self) -> Vec<i32> {
        qemus_below(&self.root)
    }

    /// Everything below the folder but what runs may make, relative and sorted, with sizes.
    fn belongings(&self, artifacts: &str) -> BTreeSet<(PathBuf, u64)> {
        files(&self.root)
            .into_iter()
            .map(|(path, metadata)| (path.strip_prefix(&self.root).unwrap().to_owned(), metadata.len()))
            .filter(|(path, _)| !path.starts_with(artifacts))
            .collect()
    }

    /// Nothing runs any more, a second's grace for the kernel, and no socket is left.
    fn assert_nothing_left(&self) {
        let limit = Instant::now() + Duration::from_secs(1);
        while !self.qemus().is_empty() {
            assert!(Instant::now() < limit, "QEMU outlives the run: {:?}", self.qemus());
            std::thread::sleep(Duration::from_millis(10));
        }
        use std::os::unix::fs::FileTypeExt as _;
        let sockets: Vec<PathBuf> = files(&self.root)
            .into_iter()
            .filter(|(_, metadata)| metadata.file_type().is_socket())
            .map(|(path, _)| path)
            .collect();
        assert!(sockets.is_empty(), "sockets are left: {sockets:?}");
    }
}

/// Ids of the QEMUs that run somewhere below a folder.
pub(crate) fn qemus_below(folder: &Path) -> Vec<i32> {
    let is_there = |process: &Path| {
        let comm = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
        comm.starts_with("qemu")
            && std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
    };
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    processes
        .filter(|process| is_there(process))
        .filter_map(|process| process.file_name()?.to_str()?.parse().ok())
        .collect()
}

/// The folders of all runs below these artifacts, the oldest first.
pub(crate) fn run_folders(artifacts: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(artifacts).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.is_dir() && !folder.ends_with("warm"));
    folders.sort();
    folders
}

/// The only entry of a folder.
pub(crate) fn only(folder: &Path) -> PathBuf {
    let entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [entry] = &*entries else { panic!("one entry wanted in {}, got {entries:?}", folder.display()) };
    entry.clone()
}

/// The only folder in a folder; files may be beside it.
pub(crate) fn only_folder(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    let [entry] = &*folders else { panic!("one folder wanted in {}, got {folders:?}", folder.display()) };
    entry.clone()
}

/// All files and empty folders below `folder`; links are not followed.
pub(crate) fn files(folder: &Path) -> Vec<(PathBuf, std::fs::Metadata)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        let below = if metadata.is_dir() { files(&path) } else { Vec::new() };
        if below.is_empty() {
            found.push((path, metadata));
        }
        found.extend(below);
    }
    found
}

/// A command line that is being put together.
pub(crate) struct Invocation<'a> {
    lab: &'a Lab,
    command: Command,
    artifacts: &'a str,
    lines_read: Option<usize>,
}

impl<'a> Invocation<'a> {
    fn new(lab: &'a Lab, mut command: Command) -> Self {
        command
            .current_dir(&lab.root)
            .env("HOME", lab.path("home"))
            .env("TMPDIR", lab.path("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        for name in SETTINGS {
            command.env_remove(name);
        }
        // What a test reads has an order, unless it asks for several at once.
        command.env("BACKSTAFF_JOBS", "1");
        Self { lab, command, artifacts: "logs", lines_read: None }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs in this folder of the lab.
    pub(crate) fn within(mut self, folder: &str) -> Self {
        self.command.current_dir(self.lab.path(folder));
        self
    }

    /// What the run may make; without this, `logs`.
    pub(crate) fn may_make(mut self, artifacts: &'a str) -> Self {
        self.artifacts = artifacts;
        self
    }

    /// Whoever reads the output goes away after so many lines, as `| head -n` does.
    pub(crate) fn read_lines(mut self, lines: usize) -> Self {
        self.lines_read = Some(lines);
        self
    }

    pub(crate) fn stdout(mut self, stdout: std::fs::File) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// The command itself, for who looks at it in another way.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    pub(crate) fn run(self) -> Finished {
        self.start().finish()
    }

    pub(crate) fn start(mut self) -> Running<'a> {
        let before = self.lab.belongings(self.artifacts);
        let began = Instant::now();
        let mut child = self.command.spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let watched = Arc::new(Watched::default());
        if let Some(stdout) = child.stdout.take() {
            watched.read(stdout, self.lines_read, |seen| &mut seen.stdout);
        }
        watched.read(child.stderr.take().unwrap(), None, |seen| &mut seen.stderr);
        let waiting = Arc::clone(&watched);
        std::thread::spawn(move || {
            let status = child.wait().unwrap();
            waiting.update(|seen| seen.status = Some((status, began.elapsed())));
        });
        Running { lab: self.lab, artifacts: self.artifacts, pid, began, before, watched }
    }
}

/// A program that runs. Dropping it kills it.
pub(crate) struct Running<'a> {
    lab: &'a Lab,
    artifacts: &'a str,
    pid: Pid,
    began: Instant,
    before: BTreeSet<(PathBuf, u64)>,
    watched: Arc<Watched>,
}

impl Running<'_> {
    /// Waits until the program has said this on either of its outputs.
    pub(crate) fn wait_for(&self, text: &str) {
        let said = |seen: &Seen| seen.stdout().contains(text) || seen.stderr().contains(text);
        self.wait_until(&format!("it says {text:?}"), |seen| said(seen) || seen.status.is_some());
        let seen = self.watched.lock();
        assert!(said(&seen), "it ended without saying {text:?}\n{seen}");
    }

    /// The id of the program's only QEMU, which is there when the lane is ready.
    pub(crate) fn qemu(&self) -> Pid {
        let qemus = self.lab.qemus();
        assert_eq!(qemus.len(), 1, "{qemus:?}");
        Pid::from_raw(qemus[0]).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid, signal).unwrap();
    }

    /// Waits for the end, and looks at what is left.
    pub(crate) fn finish(self) -> Finished {
        self.wait_until("it ends", |seen| seen.status.is_some() && seen.open_pipes == 0);
        self.lab.assert_nothing_left();
        assert_eq!(self.lab.belongings(self.artifacts), self.before, "only {} may change", self.artifacts);
        let seen = self.watched.lock();
        let (status, took) = seen.status.unwrap();
        let folder = self.lab.root.to_str().unwrap().to_owned();
        Finished { status, took, stdout: seen.stdout(), stderr: seen.stderr(), folder }
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let left = (self.began + DEADLINE).saturating_duration_since(Instant::now());
        let seen = self.watched.lock();
        let (seen, waited) =
            self.watched.changed.wait_timeout_while(seen, left, |seen| !holds(seen)).unwrap();
        assert!(!waited.timed_out(), "not within {DEADLINE:?}: {what}\n{seen}");
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Until it was waited for, its id is nobody else's.
        if self.watched.lock().status.is_none() {
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        }
    }
}

/// What is known of a running program, and a bell for whoever waits.
#[derive(Default)]
struct Watched {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    open_pipes: usize,
    status: Option<(ExitStatus, Duration)>,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, update: impl FnOnce(&mut Seen)) {
        update(&mut self.lock());
        self.changed.notify_all();
    }

    fn read(
        self: &Arc<Self>,
        pipe: impl Read + Send + 'static,
        lines: Option<usize>,
        into: fn(&mut Seen) -> &mut Vec<u8>,
    ) {
        self.update(|seen| seen.open_pipes += 1);
        let watched = Arc::clone(self);
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            for _ in 0..lines.unwrap_or(usize::MAX) {
                let mut line = Vec::new();
                // A live line has no end for a long time, so without a limit bytes are taken as they come.
                let read = match lines {
                    Some(_) => pipe.read_until(b'\n', &mut line),
                    None => pipe.fill_buf().map(|bytes| line.extend_from_slice(bytes)).map(|()| line.len()),
                };
                if lines.is_none() {
                    pipe.consume(line.len());
                }
                if !read.is_ok_and(|bytes| bytes > 0) {
                    break;
                }
                watched.update(|seen| into(seen).extend_from_slice(&line));
            }
            drop(pipe);
            watched.update(|seen| seen.open_pipes -= 1);
        });
    }
}

impl Seen {
    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--- stdout\n{}--- stderr\n{}---", self.stdout(), self.stderr())
    }
}

/// How a program ended.
pub(crate) struct Finished {
    status: ExitStatus,
    pub(crate) took: Duration,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    folder: String,
}

impl Finished {
    /// Checks how it ended, and says what it said when that was otherwise.
    #[track_caller]
    pub(crate) fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}\n{}{}", self.status, self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn dies_of(self, signal: Signal) -> Self {
        assert_eq!(self.status.signal(), Some(signal.as_raw()), "{}\n{}", self.status, self.stdout);
        self
    }

    /// Checks that it was over after so many seconds.
    #[track_caller]
    pub(crate) fn within(self, seconds: u64) -> Self {
        assert!(self.took < Duration::from_secs(seconds), "it took {:?}\n{}", self.took, self.stdout);
        self
    }

    /// Checks that both outputs together hold these texts in this order.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr);
        let mut rest = &*all;
        for text in texts {
            let Some((_, after)) = rest.split_once(text) else { panic!("{text:?} is missing in\n{all}") };
            rest = after;
        }
        self
    }

    /// Both outputs, with what differs from run to run taken out.
    pub(crate) fn text(&self) -> String {
        let text = match (&*self.stdout, &*self.stderr) {
            (stdout, "") => stdout.to_owned(),
            ("", stderr) => format!("[stderr]\n{stderr}"),
            (stdout, stderr) => format!("{stdout}[stderr]\n{stderr}"),
        };
        redact(&text.replace(&self.folder, "[lab]"))
    }
}

fn redact(text: &str) -> String {
    let varying = [
        (r"\d{8}-\d{6}(-\d+)?", "[run]"),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "[time]"),
        (r"(?m)^ +\d+\.\d s  ", "      [at]  "),
        (r"(?m)(^| )\d+\.\d s($|,)", "$1[took]$2"),
        (r"the \d+\.\d s left", "the [n] s left"),
        (r"\d+ times redrawn", "[n] times redrawn"),
        (r"from pid \d+ \([^)]*\)", "from [pid]"),
        (r"after \d+\.\d s", "after [n] s"),
    ];
    varying.iter().fold(text.to_owned(), |text, (pattern, stand_in)| {
        regex_lite::Regex::new(pattern).unwrap().replace_all(&text, *stand_in).into_owned()
    })
}

/// Leave to boot a machine: two at a time are what two processors can take.
struct Turn;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Turn {
    fn wait() -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken =
            FREED.wait_while(taken, |taken| *taken >= MACHINES).unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}

/// Says that a test has shown nothing here, and why.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so aloud")]
pub(crate) fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
}

/// Describes this host, or says why the test is skipped.
fn platform_or_skip(test: &str) -> Option<Platform> {
    static PLATFORM: OnceLock<Result<Platform, String>> = OnceLock::new();
    let platform = PLATFORM.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = DetectConfig::new(std::env::var_os("PATH").unwrap_or_default());
        runtime.block_on(Platform::detect(&config)).map_err(|error| error.to_string())
    });
    platform.clone().inspect_err(|why| skipped(test, why)).ok()
}

const BACKSTAFF: &str = env!("CARGO_BIN_EXE_backstaff");
/// Longer than anything here takes, also on a busy host.
const DEADLINE: Duration = Duration::from_secs(120);
const MACHINES: usize = 2;
/// Whatever of the environment changes what is said.
const SETTINGS: [&str; 33] = [
    "BACKSTAFF_ARTIFACTS",
    "BACKSTAFF_CONTROL_SOCKET",
    "BACKSTAFF_FAIL_ON_FLAKY",
    "BACKSTAFF_JOBS",
    "BACKSTAFF_LANE",
    "BACKSTAFF_QMP",
    "BACKSTAFF_RETRIES",
    "BACKSTAFF_SERIAL_LOG",
    "BACKSTAFF_SHARD",
    "BACKSTAFF_SPICE",
    "BACKSTAFF_SPICE_PASSWORD",
    "BACKSTAFF_SPICE_PASSWORD_FILE",
    "BACKSTAFF_TIMEOUT",
    "BACKSTAFF_TIMINGS",
    "BACKSTAFF_VV",
    "BACKSTAFF_WARM",
    "BUILDKITE_PARALLEL_JOB",
    "CI",
    "CIRCLE_NODE_INDEX",
    "CI_NODE_INDEX",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "FORCE_COLOR",
    "GITHUB_ACTIONS",
    "GITHUB_STEP_SUMMARY",
    "GITLAB_CI",
    "JOB_COMPLETION_INDEX",
    "NO_COLOR",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "SYSTEM_JOBPOSITIONINPHASE",
    "TERM",
];
