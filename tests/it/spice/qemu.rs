//! A QEMU for one test: its own folder, its own process group, killed on drop.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

const FIRMWARE: &str = "/usr/share/ovmf/OVMF.fd";

pub(super) struct Qemu {
    folder: tempfile::TempDir,
    child: Child,
    qmp: BufReader<UnixStream>,
}

/// Red, green and blue of each pixel, rows from the top.
#[derive(PartialEq, Eq)]
pub(super) struct Screen {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) rgb: Vec<u8>,
}

/// Why QEMU tests cannot run here, said aloud.
#[expect(clippy::print_stderr, reason = "a skipped test shall say so")]
pub(super) fn is_missing() -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join("qemu-system-x86_64").is_file());
    let reason = match (found, Path::new(FIRMWARE).is_file()) {
        (false, _) => "qemu-system-x86_64 is not in PATH",
        (_, false) => "there is no OVMF firmware in /usr/share/ovmf",
        _ => return false,
    };
    eprintln!("skipped: {reason}");
    true
}

/// An address of this host that nobody else uses: ports of 127.0.0.1 would have to be shared with everybody.
pub(super) fn own_address() -> (String, u16) {
    static SO_FAR: AtomicU8 = AtomicU8::new(1);
    let [low, middle, ..] = std::process::id().to_le_bytes();
    // 127.0.x.y is where others are, too.
    (format!("127.{}.{low}.{}", middle | 0x80, SO_FAR.fetch_add(1, Ordering::Relaxed)), 5930)
}

impl Qemu {
    /// Boots to the firmware's own screen. `spice` is the value of `-spice`, with `@S` for the socket's path.
    pub(super) fn boot(vga: &str, spice: &str, extra: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let spice = spice.replace("@S", "spice");
        let child = Command::new("qemu-system-x86_64")
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-machine", "q35,accel=tcg", "-m", "64", "-vga", vga, "-bios", FIRMWARE])
            .args(extra)
            .args(["-spice", &spice, "-qmp", "unix:qmp,server=on,wait=off"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("qemu starts");
        let qmp = patiently(|| UnixStream::connect(folder.path().join("qmp")).ok()).expect("QMP socket");
        let mut qemu = Self { folder, child, qmp: BufReader::new(qmp) };
        qemu.answer();
        qemu.execute(r#"{"execute":"qmp_capabilities"}"#);
        qemu
    }

    pub(super) fn spice_socket(&self) -> PathBuf {
        self.folder.path().join("spice")
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a QMP command and returns its answer.
    pub(super) fn execute(&mut self, command: &str) -> String {
        self.qmp.get_mut().write_all(command.as_bytes()).expect("QMP command");
        loop {
            let line = self.answer();
            if line.contains("\"return\"") {
                return line;
            }
            assert!(!line.contains("\"error\""), "{command}: {line}");
        }
    }

    pub(super) fn screendump(&mut self) -> Screen {
        self.execute(r#"{"execute":"screendump","arguments":{"filename":"screen.ppm"}}"#);
        let file = std::fs::read(self.folder.path().join("screen.ppm")).expect("screendump");
        let header: Vec<&[u8]> = file.splitn(4, |byte| byte.is_ascii_whitespace()).collect();
        let number = |bytes: &[u8]| String::from_utf8_lossy(bytes).parse::<u32>().expect("PPM number");
        assert_eq!(header[0], b"P6");
        let rgb = header[3].strip_prefix(b"255\n").expect("PPM with 8 bits");
        Screen { width: number(header[1]), height: number(header[2]), rgb: rgb.to_vec() }
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        let read = self.qmp.read_line(&mut line).expect("QMP line");
        assert_ne!(read, 0, "QEMU has gone");
        line
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Polls for what another process does, for half a minute.
pub(super) fn patiently<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if let Some(value) = attempt() {
            return Some(value);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}
