//! Runs against machines that somebody else has booted, from the environment alone.

use std::path::Path;

use backstaff::lane::Platform;
use rustix::process::Signal;

use crate::cli::lab::{Finished, Lab, files};
use crate::lane::somebody::{Somebody, TICKET, UNIX, free_port, host, tcp_with_ticket, write};
use crate::spice::authority::Authority;

/// Runs a test on this host, if it can serve a console, in a folder whose lane `theirs` is attached.
fn with_lab(test: &str, body: impl AsyncFnOnce(Lab, Platform)) {
    let Some(lab) = lab(test) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if let Some(platform) = host(test).await {
            body(lab, platform).await;
        }
    });
}

/// A folder whose only lane is attached, for machines without a digest.
fn lab(test: &str) -> Option<Lab> {
    let lab = Lab::with_rom(test)?;
    Some(lab.file("lanes/theirs.toml", "kind = \"attach\"\n").file("backstaff.toml", "lane = \"theirs\"\n"))
}

/// Names and values.
type Variables<'a> = &'a [(&'a str, &'a str)];

fn run(lab: &Lab, variables: Variables<'_>) -> Finished {
    let command = lab.command(&["run", "a.lua"]);
    variables.iter().fold(command, |command, (name, value)| command.env(name, value)).run()
}

/// Checks that the ticket is in no output and in no file that a run has left.
#[track_caller]
fn assert_no_ticket(lab: &Lab, finished: &Finished) {
    assert!(!finished.text().contains(TICKET), "{}", finished.text());
    for (path, _) in files(&lab.path("logs")) {
        let bytes = std::fs::read(&path).unwrap_or_default();
        let found = bytes.windows(TICKET.len()).any(|window| window == TICKET.as_bytes());
        assert!(!found, "the ticket is in {}", path.display());
    }
}

#[test]
fn a_lane_that_is_attached_to_nothing_skips_everything_and_says_which_variable_would_help() {
    let lab = Lab::bare();
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/lanes/attached.toml");
    let lab = lab
        .file("lanes/attached.toml", &std::fs::read_to_string(profile).unwrap())
        .file(
            "a.lua",
            "scenario('any', function(t) end)\nscenario('keys', { needs = { 'keyboard' } }, function() end)",
        )
        .file("b.lua", "scenario('log', { needs = { 'serial' } }, function(t) end)");
    let _ = lab.run(&["run", ".", "--lane", "attached"]).exits_with(77).says(&[
        "SKIP  any",
        "lane \"attached\" is attached to no machine: set BACKSTAFF_SPICE, BACKSTAFF_VV or BACKSTAFF_CONTROL_SOCKET, or",
        "`spice`, `vv` or `control_socket` under",
        "SKIP  keys",
        "BACKSTAFF_SPICE",
        "SKIP  log",
        "BACKSTAFF_SPICE",
        "0 passed, 0 failed, 3 skipped",
    ]);
}

#[test]
fn what_is_set_and_broken_fails_the_lane_with_the_remedy() {
    let lab = Lab::bare()
        .file("lanes/theirs.toml", "kind = \"attach\"\n")
        .file("backstaff.toml", "lane = \"theirs\"\n")
        .file("empty.vv", "")
        .scenario("", "error('never runs')");
    let cases: [(Variables<'_>, &str, &str); 8] = [
        (&[("BACKSTAFF_SPICE", "spice://h?pasword=hunter2")], "did you mean `password`?", "known keys"),
        (
            &[("BACKSTAFF_SPICE", "spice+unix:///nowhere")],
            "connect to /nowhere: No such file",
            "is the machine running",
        ),
        (
            &[("BACKSTAFF_VV", "none.vv")],
            "read the connection file \"none.vv\" (BACKSTAFF_VV)",
            "fetch a new one",
        ),
        (&[("BACKSTAFF_VV", "empty.vv")], "is no connection file", "[virt-viewer]"),
        (
            &[("BACKSTAFF_SERIAL_LOG", "none.log")],
            "the serial log that BACKSTAFF_SERIAL_LOG names",
            "-serial file:",
        ),
        (&[("BACKSTAFF_QMP", "none.sock")], "attach to QMP at \"none.sock\" (BACKSTAFF_QMP)", "-qmp unix:"),
        (
            &[("BACKSTAFF_CONTROL_SOCKET", "c.sock")],
            "attach to the control socket that BACKSTAFF_CONTROL_SOCKET names: no socket at c.sock",
            "is the server running?",
        ),
        (
            &[("BACKSTAFF_SPICE", "h:1"), ("BACKSTAFF_VV", "empty.vv")],
            "BACKSTAFF_SPICE and BACKSTAFF_VV both say where the console is",
            "unset one",
        ),
    ];
    for (variables, wanted, remedy) in cases {
        let finished = run(&lab, variables).exits_with(16).within(60);
        let finished = finished.says(&["LANE  it", wanted, "hint: ", remedy]);
        assert_no_ticket(&lab, &finished);
    }
}

#[test]
fn every_kind_of_address_leads_to_the_machine_which_goes_on_afterwards() {
    with_lab("runs on an attached lane", async |lab, platform| {
        let script = "scenario('keys', { needs = { 'keyboard', 'screen' } }, function(t) t.keyboard:press('a') end)\n\
                  scenario('again', function(t) end)\n";
        let lab = lab.file("a.lua", script);
        let passes = |lab: &Lab, variables: Variables<'_>| {
            let finished = run(lab, variables).exits_with(0);
            let finished = finished.says(&["PASS  keys", "PASS  again", "2 passed, 0 failed, 0 skipped"]);
            assert_no_ticket(lab, &finished);
        };
        let somebody = Somebody::with_rom(&platform, UNIX).await;
        let (log, qmp) = (somebody.path("serial.log"), somebody.path("qmp.sock"));
        let (log, qmp) = (log.to_str().unwrap(), qmp.to_str().unwrap());
        let unix = somebody.unix_uri();
        passes(&lab, &[("BACKSTAFF_SPICE", &unix), ("BACKSTAFF_SERIAL_LOG", log), ("BACKSTAFF_QMP", qmp)]);
        passes(&lab, &[("BACKSTAFF_SPICE", &unix)]);
        let told = format!(
            "kind = \"attach\"\nallow_outside = true\n\n[attach]\nspice = \"{unix}\"\nserial_log = \"{log}\"\n"
        );
        let lab = lab.file("lanes/told.toml", &told);
        let _ = lab
            .run(&["run", "a.lua", "--lane", "told"])
            .exits_with(0)
            .says(&["2 passed, 0 failed, 0 skipped"]);
        somebody.assert_left_alone().await;

        let (served, port) = tcp_with_ticket();
        let somebody = Somebody::with_rom(&platform, &served).await;
        let address = format!("127.0.0.1:{port}");
        let (file, vv) = (somebody.path("ticket"), somebody.path("console.vv"));
        write(&file, &format!("{TICKET}\n"));
        let host_and_port = format!("host=127.0.0.1\nport={port}\n");
        write(
            &vv,
            &format!("[virt-viewer]\ntype=spice\n{host_and_port}password={TICKET}\ndelete-this-file=1\n"),
        );
        passes(&lab, &[("BACKSTAFF_SPICE", &address), ("BACKSTAFF_SPICE_PASSWORD", TICKET)]);
        passes(
            &lab,
            &[("BACKSTAFF_SPICE", &address), ("BACKSTAFF_SPICE_PASSWORD_FILE", file.to_str().unwrap())],
        );
        passes(&lab, &[("BACKSTAFF_VV", vv.to_str().unwrap())]);
        assert!(!vv.exists(), "the file asked to be deleted");
        let wrong = [("BACKSTAFF_SPICE", &*address), ("BACKSTAFF_SPICE_PASSWORD", "wrong-ticket")];
        let finished = run(&lab, &wrong).exits_with(16).says(&[
            "LANE  keys",
            "open the console that BACKSTAFF_SPICE names: open main",
            "hint: the ticket is wrong, missing, or expired; it comes from BACKSTAFF_SPICE_PASSWORD",
        ]);
        assert!(!finished.text().contains("wrong-ticket"), "{}", finished.text());
        somebody.assert_left_alone().await;
    });
}

/// Whatever leads to the machine, and however much is logged.
#[test]
fn a_ticket_is_in_nothing_that_is_written_and_tls_leads_to_the_machine_from_everywhere() {
    with_lab("tickets and TLS of an attached lane", async |lab, platform| {
        let authority = Authority::new();
        let folder = authority.folder("vm", &["localhost"]);
        let port = free_port();
        let served = format!(
            "addr=127.0.0.1,tls-port={port},x509-dir={},password-secret=ticket",
            folder.path().display()
        );
        let somebody = Somebody::with_rom(&platform, &served).await;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (ca, ticket, vv) = (path("ca-cert.pem"), path("ticket"), path("console.vv"));
        write(ticket.as_ref(), TICKET);
        let trust = format!("ca={}\nhost-subject=O=Us,CN=vm\n", authority.pem().replace('\n', "\\n"));
        let console = format!("host=127.0.0.1\ntls-port={port}\npassword={TICKET}\n");
        write(vv.as_ref(), &format!("[virt-viewer]\ntype=spice\n{console}{trust}"));
        let uri = format!("spice+tls://localhost:{port}");
        let profile = |more: &str| {
            format!("kind = \"attach\"\nallow_outside = true\n[attach]\nca = \"{ca}\"\n{more}\n")
        };
        let lab = lab
            .file("lanes/uri.toml", &profile(&format!("spice = \"{uri}?password={TICKET}\"")))
            .file("lanes/file.toml", &profile(&format!("spice = \"{uri}\"\npassword_file = \"{ticket}\"")))
            .file("lanes/bad.toml", &profile(&format!("spice = \"{uri}?pasword={TICKET}\"")))
            .scenario("needs = { 'keyboard', 'screen' }", "t.keyboard:press('a')");
        let run = |lane: &str, code: i32, variables: Variables<'_>| {
            let command = lab.command(&["-vvv", "run", "a.lua", "--lane", lane]);
            let command = variables.iter().fold(command, |command, (name, value)| command.env(name, value));
            let finished = command.run().exits_with(code);
            assert_no_ticket(&lab, &finished);
            finished
        };
        let (spice, trusted) = (("BACKSTAFF_SPICE", &*uri), ("BACKSTAFF_SPICE_CA", &*ca));
        let told = ("BACKSTAFF_SPICE_PASSWORD", TICKET);
        for (lane, variables) in [
            ("uri", &[][..]),
            ("file", &[]),
            ("theirs", &[("BACKSTAFF_VV", &*vv)]),
            ("theirs", &[spice, trusted, told]),
            ("theirs", &[spice, trusted, ("BACKSTAFF_SPICE_PASSWORD_FILE", &*ticket)]),
        ] {
            let _ = run(lane, 0, variables).says(&["1 passed, 0 failed, 0 skipped"]);
        }
        let own = path("server-cert.pem");
        let wrong_name = ("BACKSTAFF_SPICE_HOST_SUBJECT", "CN=other");
        let proxy = ("BACKSTAFF_SPICE_PROXY", "http://me:hunter2@127.0.0.1:1");
        for (lane, variables, wanted) in [
            ("bad", &[][..], "unknown key `pasword`"),
            ("theirs", &[spice, told, ("BACKSTAFF_SPICE_CA", &*ticket)], "BACKSTAFF_SPICE_CA or `ca`"),
            (
                "theirs",
                &[spice, told, ("BACKSTAFF_SPICE_CA", "/nowhere/ca")],
                "read the certificate authority",
            ),
            ("theirs", &[spice, told, trusted, wrong_name], "its subject is \"O=Us, CN=vm\""),
            ("theirs", &[spice, told, trusted, proxy], "connect to the proxy 127.0.0.1:1"),
            ("theirs", &[("BACKSTAFF_SPICE", "h:1"), told, trusted], "has no TLS port"),
        ] {
            let _ = run(lane, 16, variables).says(&["LANE  it", wanted]);
        }
        // The server's own certificate may be trusted by itself.
        let _ = run("theirs", 0, &[spice, told, ("BACKSTAFF_SPICE_CA", &*own)]);
        for arguments in [
            &["-vvv", "lane", "plan", "uri"][..],
            &["-vvv", "lane", "plan", "uri", "--json"],
            &["-vvv", "lane", "list"],
        ] {
            assert_no_ticket(&lab, &lab.run(arguments));
        }
        somebody.assert_left_alone().await;
    });
}

#[test]
fn an_attached_machine_that_is_killed_is_the_lanes_failure() {
    with_lab("an attached machine that is killed during a run", async |lab, platform| {
        let lab = lab.scenario("timeout = 60", "t:log('here')\nt.screen:wait_for_stable { quiet = 50 }");
        for has_qmp in [true, false] {
            let somebody = Somebody::with_rom(&platform, UNIX).await;
            let mut command = lab.command(&["run", "a.lua"]).env("BACKSTAFF_SPICE", somebody.unix_uri());
            if has_qmp {
                command = command.env("BACKSTAFF_QMP", somebody.path("qmp.sock"));
            }
            let running = command.start();
            running.wait_for("here");
            somebody.signal(Signal::KILL);
            let how = match has_qmp {
                true => "it was killed, or it crashed",
                false => "the console was closed by the other side",
            };
            let _ = running.finish().exits_with(16).within(30).says(&["LANE  it", "a.lua:3: ", how]);
        }
    });
}

/// With QMP the guest's power-off is told; without, the closed console at the end of the story stands for it.
#[test]
fn the_canonical_scenario_passes_on_a_machine_that_somebody_else_has_booted() {
    with_lab("the canonical scenario on an attached lane", async |lab, platform| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |name: &str| std::fs::read_to_string(root.join("scenarios").join(name)).unwrap();
        let lab = lab
            .file("a.lua", &read("canonical.lua"))
            .file("lanes/attached.toml", &read("lanes/attached.toml"));
        for has_qmp in [true, false] {
            let Some(somebody) = Somebody::with_guest(&platform, UNIX).await else { return };
            let mut command = lab
                .command(&["run", "a.lua", "--lane", "attached"])
                .env("BACKSTAFF_SPICE", somebody.unix_uri())
                .env("BACKSTAFF_SERIAL_LOG", somebody.path("serial.log"));
            if has_qmp {
                command = command.env("BACKSTAFF_QMP", somebody.path("qmp.sock"));
            }
            let _ = command.run().exits_with(0).says(&["PASS  boots, accepts the paste and parks"]);
            somebody.exited().await;
        }
    });
}
