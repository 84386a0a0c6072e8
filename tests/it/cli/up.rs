//! `backstaff lane up`: a machine that is held for people, joined as they do, and taken away in every way there is.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::lab::{Lab, files};

/// A lane that is held. Dropping it kills it.
struct Held {
    child: Child,
    said: Vec<String>,
}

impl Held {
    fn up(lab: &Lab) -> Self {
        let child = lab.command(&["lane", "up", "rom"]).into_command().spawn().unwrap();
        let mut held = Self { child, said: Vec::new() };
        let mut lines = BufReader::new(held.child.stdout.take().unwrap()).lines();
        while !held.said.last().is_some_and(|line| line.starts_with("  folder")) {
            let Some(line) = lines.next() else { panic!("{:?}", held.ends()) };
            held.said.push(line.unwrap());
        }
        held
    }

    /// What stands behind this name in the table.
    fn row(&self, name: &str) -> &str {
        let row = self.said.iter().find_map(|line| line.trim_start().strip_prefix(name));
        row.unwrap_or_else(|| panic!("no {name} in {:?}", self.said)).trim()
    }

    fn qmp(&self) -> Qmp {
        Qmp::connect(Path::new(self.row("QMP")))
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end; returns its exit code and what it complained about.
    fn ends(&mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        (status.code(), std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A person at the second monitor.
struct Qmp(BufReader<UnixStream>);

impl Qmp {
    fn connect(path: &Path) -> Self {
        let mut qmp = Self(BufReader::new(UnixStream::connect(path).unwrap()));
        // An event may come before QEMU has noticed who is there.
        let greeting = std::iter::repeat_with(|| qmp.line()).find(|line| line["event"].is_null()).unwrap();
        assert!(greeting["QMP"].is_object(), "{greeting}");
        qmp.execute("qmp_capabilities");
        qmp
    }

    fn execute(&mut self, command: &str) -> Value {
        writeln!(self.0.get_mut(), "{{\"execute\": \"{command}\"}}").unwrap();
        loop {
            let answer = self.line();
            if answer["event"].is_null() {
                return answer["return"].clone();
            }
        }
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

/// Neither a socket nor a connection file is left.
fn assert_no_names(lab: &Lab) {
    use std::os::unix::fs::FileTypeExt as _;
    let is_name = |path: &Path, metadata: &std::fs::Metadata| {
        metadata.file_type().is_socket() || path.extension().is_some_and(|extension| extension == "vv")
    };
    let left: Vec<PathBuf> = files(&lab.path("."))
        .into_iter()
        .filter(|(path, metadata)| is_name(path, metadata))
        .map(|(path, _)| path)
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// No QEMU is left, a second's grace for the kernel.
fn assert_no_qemu(lab: &Lab) {
    let limit = Instant::now() + Duration::from_secs(1);
    while !lab.qemus().is_empty() {
        assert!(Instant::now() < limit, "QEMU outlives the lane: {:?}", lab.qemus());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_held_lane_is_joined_on_every_way_it_names_and_taken_down_by_an_interrupt() {
    let Some(lab) = Lab::with_rom("a lane that is held") else { return };
    let attached = "kind = \"attach\"\n[[gate]]\nkind = \"spice-surface\"\ntimeout = 30\n";
    let lab = lab.file("lanes/theirs.toml", attached).scenario(
        "needs = { 'keyboard', 'screen', 'serial', 'qmp' }",
        "t.keyboard:press('enter')\nexpect(t.lane:qmp('query-status').running):is_true()",
    );
    let mut held = Held::up(&lab);
    assert_eq!(held.qmp().execute("query-status")["running"], true);
    let serial = held.row("serial").to_owned();
    lab.wait_for_file(Path::new(&serial), "rom: one line");
    assert!(held.row("SPICE").starts_with("spice+unix:///"), "{}", held.row("SPICE"));
    let viewer = held.row("viewer").strip_prefix("remote-viewer ").unwrap();
    // By connection file, and by URI; one after the other, as SPICE serves one client at a time.
    for (variable, value) in [("BACKSTAFF_VV", viewer), ("BACKSTAFF_SPICE", held.row("SPICE"))] {
        let mut joins = lab.command(&["run", "a.lua", "--lane", "theirs"]).into_command();
        joins.env(variable, value).env("BACKSTAFF_SERIAL_LOG", &serial).env("BACKSTAFF_QMP", held.row("QMP"));
        let joined = joins.output().unwrap();
        let text = String::from_utf8_lossy(&joined.stdout);
        assert!(joined.status.success() && text.contains("1 passed"), "{variable}: {text}");
    }
    assert_eq!(held.qmp().execute("query-status")["running"], true, "it goes on");
    held.signal(Signal::INT);
    let (code, complaint) = held.ends();
    assert_eq!(code, Some(130), "{complaint}");
    assert!(complaint.contains("once more to leave at once"), "{complaint}");
    assert_no_qemu(&lab);
    assert_no_names(&lab);
}

#[test]
fn two_lanes_are_held_side_by_side() {
    let Some(lab) = Lab::with_rom("two lanes that are held") else { return };
    let (mut one, mut other) = (Held::up(&lab), Held::up(&lab));
    assert_ne!(one.row("folder"), other.row("folder"));
    assert_eq!(lab.qemus().len(), 2);
    one.signal(Signal::TERM);
    assert_eq!(one.ends().0, Some(143));
    assert_eq!(other.qmp().execute("query-status")["running"], true);
    assert_eq!(lab.qemus().len(), 1);
    other.signal(Signal::INT);
    assert_eq!(other.ends().0, Some(130));
    assert_no_qemu(&lab);
    assert_no_names(&lab);
}

#[test]
fn a_second_interrupt_takes_a_lane_that_does_not_answer_down_at_once() {
    let Some(lab) = Lab::with_rom("a held lane that does not answer") else { return };
    let mut held = Held::up(&lab);
    kill_process(Pid::from_raw(lab.qemus()[0]).unwrap(), Signal::STOP).unwrap();
    held.signal(Signal::INT);
    // Two of the same kind at once are one.
    std::thread::sleep(Duration::from_millis(200));
    let interrupted = Instant::now();
    held.signal(Signal::INT);
    assert_eq!(held.ends().0, Some(130));
    assert!(interrupted.elapsed() < Duration::from_secs(2), "{:?}", interrupted.elapsed());
    assert_no_qemu(&lab);
    assert_no_names(&lab);
}

#[test]
fn killed_it_leaves_no_qemu() {
    let Some(lab) = Lab::with_rom("a held lane whose holder is killed") else { return };
    let mut held = Held::up(&lab);
    held.signal(Signal::KILL);
    assert_eq!(held.ends().0, None);
    assert_no_qemu(&lab);
}

#[test]
fn a_lane_that_ends_by_itself_says_how() {
    let Some(lab) = Lab::with_rom("a held lane that ends") else { return };
    let mut held = Held::up(&lab);
    held.qmp().execute("quit");
    assert_eq!(held.ends().0, Some(16));
    assert_no_qemu(&lab);
    assert_no_names(&lab);
    let journal = std::fs::read_to_string(Path::new(held.row("folder")).join("journal.ndjson")).unwrap();
    assert!(journal.contains("somebody ended QEMU over QMP"), "{journal}");
}

#[test]
fn what_cannot_be_held_is_refused_with_a_remedy() {
    let Some(lab) = Lab::with_rom("lanes that cannot be held") else { return };
    let gate = "\n[[gate]]\nkind = \"serial-line\"\npattern = \"never\"\ntimeout = 1\n";
    let slow = std::fs::read_to_string(lab.path("lanes/rom.toml")).unwrap() + gate;
    let lab = lab.file("lanes/slow.toml", &slow).file("lanes/theirs.toml", "kind = \"attach\"\n");
    let up = |name: &str| lab.command(&["lane", "up", name]).run();
    let wanted = [
        "waiting for gate serial-line",
        "error: lane \"slow\": gate `serial-line` was not reached",
        "rom: one line",
    ];
    let _ = up("slow").exits_with(16).says(&wanted);
    let _ = up("rmo").exits_with(3).says(&["no lane profile named \"rmo\", did you mean \"rom\"?"]);
    let _ = up("theirs").exits_with(2).says(&["is somebody else's", "backstaff run --lane"]);
    let nowhere = lab.command(&["lane", "up", "rom"]).env("PATH", "/nowhere").run();
    let _ = nowhere.exits_with(16).says(&["no executable qemu-system-x86_64", "apt-get install"]);
}
