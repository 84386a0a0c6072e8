//! A machine that somebody else has booted and goes on owning: nothing in it was planned by a lane.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use backstaff::lane::Platform;
use backstaff::lane::process::{QemuProcess, SpawnOptions};
use backstaff::lane::qmp::QmpClient;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};

use super::support::{PATIENCE, is_alive, platform_or_skip};
use crate::cli::rom::rom;

/// This host, if it can serve a console.
pub(crate) async fn host(test: &str) -> Option<Platform> {
    let platform = platform_or_skip(test).await?;
    if !platform.has_spice {
        eprintln!("SKIPPED {test}: this QEMU has no SPICE");
        return None;
    }
    Some(platform)
}

/// The machine, its folder, and its owner's own monitor.
pub(crate) struct Somebody {
    folder: tempfile::TempDir,
    process: QemuProcess,
    monitor: QmpClient,
}

/// The machine's ticket, where it has one.
pub(crate) const TICKET: &str = "hunter2";

impl Somebody {
    /// A machine that runs in no time, has a screen and says two lines: see [`rom`].
    pub(crate) async fn with_rom(platform: &Platform, spice: &str) -> Self {
        Self::with_rom_and(platform, spice, &[]).await
    }

    /// The same, with more on its command line.
    pub(crate) async fn with_rom_and(platform: &Platform, spice: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rom.bin"), rom()).unwrap();
        let words = [&["-m", "16", "-bios", "rom.bin", "-vga", "std"], more].concat();
        Self::boot(platform, folder, spice, &words).await
    }

    /// The reference guest.
    pub(crate) async fn with_guest(platform: &Platform, spice: &str) -> Option<Self> {
        let firmware = platform.firmware.single.as_deref()?;
        let folder = tempfile::tempdir().unwrap();
        let guest = super::support::root().join("fixtures/guest/sextant.efi");
        let guest = guest.to_str().unwrap();
        let words = ["-m", "64", "-bios", firmware, "-kernel", guest, "-vga", "qxl"];
        Some(Self::boot(platform, folder, spice, &words).await)
    }

    async fn boot(platform: &Platform, folder: tempfile::TempDir, spice: &str, words: &[&str]) -> Self {
        let fixed = ["-machine", "q35,accel=tcg", "-nodefaults", "-no-user-config", "-display", "none"];
        let wires = [
            "-serial",
            "file:serial.log",
            "-qmp",
            "unix:qmp.sock,server=on,wait=off",
            "-qmp",
            "unix:own.sock,server=on,wait=off",
            "-object",
            "secret,id=ticket,data=hunter2",
            "-spice",
            spice,
        ];
        let words = fixed.iter().chain(words).chain(&wires).map(|word| (*word).to_owned());
        let argv: Vec<String> = std::iter::once(platform.qemu.clone()).chain(words).collect();
        let options = SpawnOptions { argv: &argv, folder: folder.path(), log: "qemu.log" };
        let process = QemuProcess::spawn(options).await.unwrap();
        let (monitor, _events) = QmpClient::connect(folder.path(), "own.sock", PATIENCE).await.unwrap();
        Self { folder, process, monitor }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The address of a machine that was booted with [`UNIX`].
    pub(crate) fn unix_uri(&self) -> String {
        format!("spice+unix://{}", self.path("spice.sock").display())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.process.pid()).unwrap(), signal).unwrap();
    }

    pub(crate) async fn execute(&self, command: &str) -> Value {
        self.monitor.execute(command, Map::new(), PATIENCE).await.unwrap()
    }

    pub(crate) async fn execute_with(&self, command: &str, arguments: Value) -> Value {
        let Value::Object(arguments) = arguments else { panic!("{command}: arguments are an object") };
        self.monitor.execute(command, arguments, PATIENCE).await.unwrap()
    }

    pub(crate) async fn exited(&self) {
        tokio::time::timeout(PATIENCE, self.process.exited()).await.unwrap();
    }

    /// Checks that the machine runs, that nobody is connected to its console, and that its QMP socket is free.
    pub(crate) async fn assert_left_alone(&self) {
        assert!(is_alive(self.process.pid()));
        assert_eq!(self.execute("query-status").await["status"], "running");
        let limit = std::time::Instant::now() + PATIENCE;
        while self
            .execute("query-spice")
            .await
            .get("channels")
            .is_some_and(|channels| channels != &Value::Array(vec![]))
        {
            assert!(std::time::Instant::now() < limit, "somebody is still connected to the console");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let (again, _events) = QmpClient::connect(self.folder.path(), "qmp.sock", PATIENCE).await.unwrap();
        again.close().await;
    }
}

/// A console on a unix socket, free for all.
pub(crate) const UNIX: &str = "unix=on,addr=spice.sock,disable-ticketing=on";

/// A console on a TCP port of 127.0.0.1 that wants [`TICKET`], and the port.
pub(crate) fn tcp_with_ticket() -> (String, u16) {
    let port = free_port();
    (format!("port={port},addr=127.0.0.1,password-secret=ticket"), port)
}

/// A port of 127.0.0.1 that nobody has, for now: never one that is given to who asks for any, or twice by this process.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 100).unwrap() * 100;
    std::iter::repeat_with(|| 20_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

/// A file in the machine's folder, or anywhere.
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
