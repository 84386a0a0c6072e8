//! Whatever is taken away from a run, while its machine comes up and while its scenario runs: it ends soon, with the
//! verdict that names who must act, and nothing is left. What the run no longer needs may go without any harm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backstaff::lane::Platform;
use backstaff::lane::platform_detect::DetectConfig;
use rustix::process::{Signal, kill_process};

use super::warm::outcomes;
use crate::cli::lab::{Finished, Lab, qemus_below, skipped};

/// A ROM in flash with variables of its own beside it.
const LANE: &str = r#"kind = "qemu"

[machine]
accel = "tcg"
memory_mib = 16

[firmware]
code = "rom.bin"
vars = "vars.bin"

[[gate]]
kind = "serial-line"
pattern = "one line"
timeout = 60
"#;
/// Goes on for a while after it has said that it runs.
const GOES_ON: &str = "t.serial:wait_for('one line')\nt:log('here')\nt:sleep(2)\nt.screen:screenshot('last')";
/// Has nothing to do until the machine says something.
const WAITS: &str = "t:log('here')\nt.serial:wait_for('never')";
/// For a run of any kind, a boot of less than a second in it.
const SECONDS: u64 = 10;

/// A lab whose QEMU first does what the file `bin/sabotage` says, in the lane's folder.
fn lab(test: &str) -> Option<Lab> {
    let lab = Lab::with_rom(test)?;
    let platform = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(Platform::detect(&DetectConfig::new(std::env::var_os("PATH").unwrap_or_default())))
        .unwrap();
    fs::write(lab.path("lanes/vars.bin"), [0xFF; 0x1_0000]).unwrap();
    let wrapper = format!(
        "#!/bin/sh\ncase \"$*\" in *-chardev*) . '{}' ;; esac\nexec '{}' \"$@\"\n",
        lab.path("bin/sabotage").display(),
        platform.qemu
    );
    let lab = lab.file("lanes/rom.toml", LANE).file("bin/sabotage", "").file("bin/script", &wrapper);
    // Copied by another process: what a thread here had open for writing may be busy when it is to be run.
    let install = Command::new("install")
        .args(["-m", "755"])
        .args([lab.path("bin/script"), lab.path("bin/qemu-system-x86_64")])
        .status();
    assert!(install.unwrap().success());
    Some(lab)
}

fn run(lab: &Lab) -> Finished {
    let path = format!("{}:{}", lab.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    lab.command(&["run", "a.lua"]).env("PATH", path).run().within(SECONDS)
}

/// Runs the scenario and takes something away once it says `here`.
fn run_and(lab: &Lab, sabotage: impl FnOnce(&Path)) -> Finished {
    let path = format!("{}:{}", lab.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let running = lab.command(&["run", "a.lua"]).env("PATH", path).start();
    running.wait_for("here");
    let run = lab.run_folders().pop().unwrap();
    sabotage(&run.join("01-it/attempt-1"));
    running.finish().within(SECONDS)
}

#[test]
fn qemu_while_it_comes_up() {
    let Some(lab) = lab("QEMU killed while it comes up") else { return };
    let lab = lab.scenario("", GOES_ON).file("bin/sabotage", "kill -9 $$");
    let _ = run(&lab).exits_with(16).says(&["LANE  it", "QEMU ended with signal 9", "connecting to QMP"]);
}

#[test]
fn qemu_while_it_is_restored_or_runs_a_scenario() {
    let Some(lab) = lab("QEMU killed later") else { return };
    let lab = lab.scenario("", GOES_ON);
    let _ = run(&lab).exits_with(0);
    // Killed once: the boot that follows is left alone.
    let lab = lab.file("bin/sabotage", "case \"$*\" in *-incoming*) kill -9 $$ ;; esac");
    let _ = run(&lab).exits_with(0).says(&["1 passed"]);
    assert_eq!(outcomes(&lab.newest_journal()), ["booted"]);

    let lab = lab.file("bin/sabotage", "");
    for from in [&["saved"][..], &["restored"]] {
        let finished = run_and(&lab, |_| {
            let qemus = lab.qemus();
            assert_eq!(qemus.len(), 1, "{qemus:?}");
            kill_process(rustix::process::Pid::from_raw(qemus[0]).unwrap(), Signal::KILL).unwrap();
        });
        let _ = finished.exits_with(16).says(&["LANE  it", "QEMU was killed by signal 9"]);
        assert_eq!(outcomes(&lab.newest_journal()), from);
    }
}

/// What comes of being saved is the host's affair, not the scenario's.
#[test]
fn qemu_while_it_is_saved() {
    let Some(lab) = lab("QEMU killed while it is saved") else { return };
    // Ends the first QEMU as soon as it has been asked for its memory, and leaves the next one alone.
    let kills = "[ -e ../once ] || { touch ../once; \
                 (while [ -e /proc/$$ ]; do for it in ../../../warm/.new-*/memory; do \
                 [ ! -e \"$it\" ] || kill -9 $$; done; done) 2>&- & }";
    let lab = lab.scenario("", GOES_ON).file("bin/sabotage", kills);
    let _ = run(&lab).exits_with(0).says(&["1 passed"]);
    let journal = lab.newest_journal();
    assert_eq!(outcomes(&journal), ["not_saved"]);
    assert_eq!(journal.matches("\"state\":\"starting\"").count(), 2, "it was booted anew");
    let lane = lab.attempt();
    let given_up = fs::read_to_string(lane.join("given-up-serial.log")).unwrap();
    // As far as it had come when it was killed.
    assert!("rom: one line\r\nrom: login: ".starts_with(&given_up), "{given_up:?}");
    let _ = fs::remove_file(lane.join("../once"));
}

#[test]
fn the_saved_machine() {
    let Some(lab) = lab("a saved machine that goes away") else { return };
    let lab = lab.scenario("", GOES_ON);
    let _ = run(&lab).exits_with(0);
    let incoming = |what: &str| format!("case \"$*\" in *-incoming*) {what} ;; esac");
    // It is open, so it may lose its name.
    let lab = lab.file("bin/sabotage", &incoming("rm -r ../../../warm"));
    let _ = run(&lab).exits_with(0);
    assert_eq!(outcomes(&lab.newest_journal()), ["restored"]);

    let lab = lab.file("bin/sabotage", "");
    let _ = run(&lab).exits_with(0);
    assert_eq!(outcomes(&lab.newest_journal()), ["saved"]);
    // Emptied after it was looked at.
    let lab = lab.file("bin/sabotage", &incoming("for it in ../../../warm/*/memory; do : > \"$it\"; done"));
    let _ = run(&lab).exits_with(0);
    assert_eq!(outcomes(&lab.newest_journal()), ["booted"]);

    let lab = lab.file("bin/sabotage", "");
    let _ = run(&lab).exits_with(0);
    let _ = run_and(&lab, |_| fs::remove_dir_all(lab.path("logs/warm")).unwrap()).exits_with(0);
    assert_eq!(outcomes(&lab.newest_journal()), ["restored"]);
    let _ = run(&lab).exits_with(0);
    let emptied = |_: &Path| fs::write(lab.saved_machine().join("memory"), "").unwrap();
    let _ = run_and(&lab, emptied).exits_with(0);
    assert_eq!(outcomes(&lab.newest_journal()), ["restored"]);
}

#[test]
fn the_copy_of_the_variables() {
    let Some(lab) = lab("variables that go away") else { return };
    let lab = lab.scenario("", GOES_ON);
    for (sabotage, words) in
        [("rm firmware-vars.qcow2", "No such file"), (": > firmware-vars.qcow2", "not in qcow2 format")]
    {
        fs::write(lab.path("bin/sabotage"), sabotage).unwrap();
        let _ = run(&lab).exits_with(16).says(&["LANE  it", "QEMU ended with status 1", words]);
    }
    // Those of a saved machine, which is no reason to fail.
    let lab = lab.file("bin/sabotage", "");
    let _ = run(&lab).exits_with(0);
    let lab = lab.file("bin/sabotage", "case \"$*\" in *-incoming*) rm firmware-vars.qcow2 ;; esac");
    let _ = run(&lab).exits_with(0);
    assert_eq!(outcomes(&lab.newest_journal()), ["booted"]);
    // QEMU has them open, and a guest that does not write them does not miss them.
    let lab = lab.file("bin/sabotage", "");
    let _ = run_and(&lab, |lane| fs::remove_file(lane.join("firmware-vars.qcow2")).unwrap()).exits_with(0);
    let _ = run_and(&lab, |lane| fs::write(lane.join("firmware-vars.qcow2"), "").unwrap()).exits_with(0);
}

#[test]
fn the_sockets() {
    let Some(lab) = lab("sockets that go away") else { return };
    // As if they had been removed at once: QEMU makes them elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    let there = elsewhere.path().canonicalize().unwrap();
    let moves = format!("cd '{}' && for it in \"$OLDPWD\"/*; do ln -s \"$it\" .; done", there.display());
    let lab = lab.scenario("", GOES_ON).file("bin/sabotage", &moves);
    let _ = run(&lab).exits_with(16).says(&["LANE  it", "connect to", "qmp.sock for 5.0 s", "No such file"]);
    assert_eq!(qemus_below(&there), [0; 0]);
    // Later there is nothing left to remove: names go as soon as everybody is connected.
    let lab = lab.file("bin/sabotage", "");
    let finished = run_and(&lab, |lane| {
        for name in ["qmp.sock", "monitor.sock", "spice.sock"] {
            assert!(!lane.join(name).exists(), "{name}");
        }
    });
    let _ = finished.exits_with(0);
}

#[test]
fn the_disk() {
    let Some(lab) = lab("a disk that is full") else { return };
    let Some(disk) = SmallDisk::mount("a disk that is full", lab.path("logs")) else { return };
    let why = "No space left on device";
    // Before anything is made.
    let lab = lab.scenario("timeout = 60", WAITS);
    disk.fill();
    let _ = run(&lab).exits_with(16).says(&["create the run's folder in logs", why]);
    // While the machine comes up.
    disk.empty();
    let lab = lab.file("bin/sabotage", &format!("cat /dev/zero > '{}' 2>&-", disk.filler().display()));
    let _ = run(&lab).exits_with(16).says(&["LANE  it", why]);
    // While the scenario waits.
    let lab = lab.file("bin/sabotage", "");
    for from in ["saved", "restored"] {
        disk.make_room();
        let _ = run_and(&lab, |_| disk.fill()).exits_with(16).says(&["LANE  it", "cannot be written"]);
        assert_eq!(outcomes(&lab.newest_journal()), [from]);
    }
}

/// A few megabytes to be filled.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Nothing where it cannot be mounted; says so.
    fn mount(test: &str, folder: PathBuf) -> Option<Self> {
        fs::create_dir(&folder).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "small"]).arg(&folder).output();
        if !mount.is_ok_and(|mount| mount.status.success()) {
            skipped(test, "no file system can be mounted here");
            return None;
        }
        Some(Self { folder })
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    fn fill(&self) {
        let mut filler = fs::File::options().append(true).create(true).open(self.filler()).unwrap();
        while std::io::Write::write_all(&mut filler, &[0; 4_096]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn empty(&self) {
        for entry in fs::read_dir(&self.folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also when somebody still holds a file in it.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
