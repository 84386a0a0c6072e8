//! When the machine or the host is at fault, that is what is said, and no scenario is blamed.

use rustix::process::{Signal, kill_process};

use crate::cli::lab::Lab;

const WAITS: &str = "t:log('here')\nt.serial:wait_for('never')";

#[test]
fn a_machine_that_is_killed_is_the_lanes_failure() {
    let Some(lab) = Lab::with_rom("a machine that is killed") else { return };
    let lab = lab.scenario("timeout = 60", WAITS);
    let running = lab.command(&["run", "a.lua"]).start();
    running.wait_for("here");
    kill_process(running.qemu(), Signal::KILL).unwrap();
    let finished = running.finish().exits_with(16).within(20);
    insta::assert_snapshot!(finished.text(), @r#"
    1 scenario on lane rom (logs/[run])
    RUN   it (a.lua:1)
          [at]  lane is ready
          [at]  here
    LANE  it [took]
          a.lua:3: serial:wait_for: the machine ended while waiting for text matching "never": QEMU was killed by signal 9
            2 lines since the last match, the last of them:
              rom: one line
              rom: login: 
                 1 | scenario("it", { timeout = 60 }, function(t)
                 2 | t:log('here')
            >    3 | t.serial:wait_for('never')
          screen: logs/[run]/01-it/attempt-1/screenshots/01-failure.png
          hint: somebody killed it, or the kernel did for want of memory: see `dmesg`
          logs: logs/[run]/01-it/attempt-1
    1 of the failures is the machine's or the host's, not the scenario's
    [took], everything is in logs/[run]
    0 passed, 1 failed, 0 skipped
    "#);
}

#[test]
fn a_machine_that_is_terminated_is_the_lanes_failure() {
    let Some(lab) = Lab::with_rom("a machine that is terminated") else { return };
    let lab = lab.scenario("timeout = 60", WAITS);
    let running = lab.command(&["run", "a.lua"]).start();
    running.wait_for("here");
    kill_process(running.qemu(), Signal::TERM).unwrap();
    let _ = running.finish().exits_with(16).within(20).says(&[
        "LANE  it",
        "the machine ended while waiting for text matching \"never\": QEMU was ended by a signal",
        "terminating on signal 15",
        "1 of the failures is the machine's or the host's, not the scenario's",
    ]);
}

#[test]
fn nothing_a_script_catches_turns_a_lost_machine_into_a_pass() {
    let Some(lab) = Lab::with_rom("a lost machine that is caught") else { return };
    let body = "t:log('here')\nwhile pcall(t.serial.wait_for, t.serial, 'never') do end\n\
                pcall(coroutine.wrap(function() t.serial:wait_for('never') end))\nt:log('went on')";
    let lab = lab.scenario("timeout = 60", body);
    let running = lab.command(&["run", "a.lua"]).start();
    running.wait_for("here");
    kill_process(running.qemu(), Signal::KILL).unwrap();
    let finished = running.finish().exits_with(16).within(20).says(&["LANE  it", "killed by signal 9"]);
    assert!(!finished.stdout.contains("went on"), "{}", finished.stdout);
}

#[test]
fn a_machine_that_dies_while_it_comes_up_says_so() {
    let Some(lab) = Lab::with_rom("a machine that dies while it comes up") else { return };
    let gate = "\n[[gate]]\nkind = \"serial-line\"\npattern = \"never\"\ntimeout = 60\n";
    let lane = std::fs::read_to_string(lab.path("lanes/rom.toml")).unwrap() + gate;
    let lab = lab.file("lanes/rom.toml", &lane).scenario("", "");
    let running = lab.command(&["run", "a.lua"]).start();
    running.wait_for("RUN");
    // Past the first gate, with everything the machine says: the last word is what it is killed after.
    lab.wait_for_file(&lab.attempt().join("journal.ndjson"), r#""gate":"spice-surface","passed":true"#);
    lab.wait_for_file(&lab.attempt().join("serial.log"), "rom: login: ");
    kill_process(running.qemu(), Signal::KILL).unwrap();
    let finished = running.finish().exits_with(16).within(20);
    insta::assert_snapshot!(finished.text(), @r"
    1 scenario on lane rom (logs/[run])
    RUN   it (a.lua:1)
    LANE  it [took]
          gate `serial-line` was not reached: QEMU was killed by signal 9
            seen: screen: a 640x480 surface, [n] times redrawn; serial:
              rom: one line
              rom: login: 
          logs: logs/[run]/01-it/attempt-1
    1 of the failures is the machine's or the host's, not the scenario's
    [took], everything is in logs/[run]
    0 passed, 1 failed, 0 skipped
    ");
}

#[test]
fn a_gate_that_is_not_reached_says_what_was_seen_instead() {
    let Some(lab) = Lab::with_rom("a gate that is not reached") else { return };
    let gate = "\n[[gate]]\nkind = \"serial-line\"\npattern = \"ready\"\ntimeout = 1\n";
    let lane = std::fs::read_to_string(lab.path("lanes/rom.toml")).unwrap() + gate;
    let finished = lab.file("lanes/rom.toml", &lane).scenario("", "").run(&["run", "a.lua"]).exits_with(16);
    insta::assert_snapshot!(finished.within(20).text(), @r"
    1 scenario on lane rom (logs/[run])
    RUN   it (a.lua:1)
    LANE  it [took]
          gate `serial-line` was not reached: not within 1 s
            seen: screen: a 640x480 surface, [n] times redrawn; serial:
              rom: one line
          logs: logs/[run]/01-it/attempt-1
    1 of the failures is the machine's or the host's, not the scenario's
    [took], everything is in logs/[run]
    0 passed, 1 failed, 0 skipped
    ");
}

#[test]
fn a_host_without_qemu_names_the_package() {
    let Some(lab) = Lab::with_rom("a host without QEMU") else { return };
    let lab = lab.scenario("", "");
    let finished = lab.command(&["run", "a.lua"]).env("PATH", lab.path("home")).run().exits_with(16);
    insta::assert_snapshot!(finished.text(), @r#"
    1 scenario on lane rom (logs/[run])
    RUN   it (a.lua:1)
    LANE  it [took]
          no executable qemu-system-x86_64 in PATH "[lab]/home"
          hint: Debian, Ubuntu: apt-get install qemu-system-x86 ovmf (from Debian 13 on also qemu-system-modules-spice); Fedora: dnf install qemu-system-x86 qemu-ui-spice-core edk2-ovmf; Arch: pacman -S qemu-desktop edk2-ovmf
          logs: logs/[run]/01-it/attempt-1
    1 of the failures is the machine's or the host's, not the scenario's
    [took], everything is in logs/[run]
    0 passed, 1 failed, 0 skipped
    "#);
}

#[test]
fn a_kernel_that_is_not_there_is_named_before_qemu_speaks() {
    let Some(lab) = Lab::with_rom("a kernel that is not there") else { return };
    let lane =
        std::fs::read_to_string(lab.path("lanes/rom.toml")).unwrap() + "\n[boot]\nkernel = \"no.efi\"\n";
    let finished = lab.file("lanes/rom.toml", &lane).scenario("", "").run(&["run", "a.lua"]).exits_with(16);
    insta::assert_snapshot!(finished.text(), @r#"
    1 scenario on lane rom (logs/[run])
    RUN   it (a.lua:1)
    LANE  it [took]
          kernel "[lab]/lanes/no.efi" cannot be read: No such file or directory (os error 2)
          hint: is the kernel built, and is its path right in the profile?
          logs: logs/[run]/01-it/attempt-1
    1 of the failures is the machine's or the host's, not the scenario's
    [took], everything is in logs/[run]
    0 passed, 1 failed, 0 skipped
    "#);
}

#[test]
fn a_qemu_that_refuses_to_start_is_quoted() {
    let Some(lab) = Lab::with_rom("a QEMU that refuses") else { return };
    // An image whose size no firmware has.
    let lab = lab.file("lanes/rom.bin", "short").scenario("", "");
    let _ = lab.run(&["run", "a.lua"]).exits_with(16).says(&[
        "LANE  it",
        "QEMU ended with status 1",
        "hint: its last words: ",
        "could not load PC BIOS",
        "logs: logs/",
    ]);
}
