//! Runs on attached lanes through control sockets that a test plays.

use serde_json::json;

use super::played::{Manners, Played, Reaction, digest, stale};
use crate::cli::lab::{Finished, Lab};
use crate::digest::screen::Screen;

const PROFILE: &str = "kind = \"attach\"\n\n[oracle]\ndigest = true\n\n\
                       [[gate]]\nkind = \"spice-surface\"\ntimeout = 60\n\n\
                       [[gate]]\nkind = \"digest\"\ntimeout = 60\n";

fn lab() -> Lab {
    Lab::bare().file("lanes/theirs.toml", PROFILE).file("backstaff.toml", "lane = \"theirs\"\n")
}

fn run(lab: &Lab, server: &Played, more: &[&str]) -> Finished {
    let arguments = [&["run", "a.lua"], more].concat();
    lab.command(&arguments).env("BACKSTAFF_CONTROL_SOCKET", &server.path).run()
}

/// A guest that shows a digest already and waits for Enter, which it tells; then for Escape, which ends it.
fn guest(manners: Manners) -> Played {
    let line = json!({"line_rendered": {"row": 3, "timestamp_ms": 2_350}});
    let key = json!({"keypress": {"unicode": "\r", "scancode": 0, "timestamp_ms": 2_400}});
    let pressed = digest(12, json!([line, key]));
    let reacts = vec![
        (0x9c, Reaction::Tell(pressed)),
        (0x9c, Reaction::Tell(super::played::drawn())),
        (0x81, Reaction::HangUp),
    ];
    let mut screen = Screen::new(640, 480);
    let record = visual_digest::Record::LineRendered { row: 3, timestamp_ms: 2_350 };
    screen.refresh(11, &[record]);
    Played::with_screen(Manners { reacts, ..manners }, screen)
}

const STORY: &str = "
    local first = t.digest:wait_for(any)
    expect(first.frame_counter):matches(11)
    t:step('keys', function()
      t.keyboard:type('hello')
      t.keyboard:press('enter')
      t.digest:wait_for { keypress = { unicode = '\\r' } }
      expect(#t.digest:history()):matches(2)
      expect(t.digest:latest().channel_hashes):matches(absent)
    end)
    t.screen:wait_for_stable()
    t.screen:screenshot('now')
    t:step('the end', function()
      t.keyboard:press('esc')
      t.lane:wait_for_shutdown()
    end)";

const NEEDS: &str = "needs = { 'keyboard', 'screen', 'digest' }, timeout = 60";

#[test]
fn a_scenario_runs_through_the_socket_of_an_old_server_and_its_end_is_a_success() {
    for manners in [
        Manners { busy: 2, ..Manners::default() },
        Manners { forgets_break: true, version: "1.1", ..Manners::default() },
    ] {
        let server = guest(manners);
        let lab = lab().scenario(NEEDS, STORY);
        let finished = run(&lab, &server, &[]).exits_with(0);
        let _ = finished.says(&["PASS  it", "1 passed, 0 failed, 0 skipped"]);
        assert_eq!(server.typed(), "hello\n");
        let journal = lab.newest_journal();
        for said in [
            &*format!("control socket {}", server.path.display()),
            "control socket: server \\\"played\\\", protocol 1.",
            // The one that was there was read from the screen, the other was told.
            "\"frame_counter\":11,\"channel_hashes\":{",
            "\"framebuffer\":\"matches\",\"new_records\":1",
            "\"framebuffer\":\"unknown\",\"new_records\":1",
        ] {
            assert!(journal.contains(said), "{said} is missing in\n{journal}");
        }
    }
}

#[test]
fn an_end_before_the_last_step_is_a_failure_that_says_where() {
    let server = guest(Manners::default());
    let body = "t:step('too early', function()\n t.keyboard:press('esc')\n t.digest:wait_for { keypress = any }\nend)";
    let lab = lab().scenario(NEEDS, body);
    let finished = run(&lab, &server, &[]).exits_with(16);
    let _ = finished.says(&[
        "LANE  it",
        "digest:wait_for: the machine ended while waiting for",
        "the console was closed by the other side",
        "in step \"too early\"",
    ]);
}

#[test]
fn garbage_in_the_middle_is_the_lanes_failure() {
    let lab = lab().scenario(NEEDS, "t.keyboard:press('a') t.digest:wait_for { keypress = any }");
    let server = guest(Manners::default());
    let path = server.path.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            server.wait(|server| server.wire().contains(&0x9e));
            server.say("no JSON");
        });
        let finished = lab.command(&["run", "a.lua"]).env("BACKSTAFF_CONTROL_SOCKET", &path).run();
        let _ =
            finished.exits_with(16).says(&["the console failed: the control socket was ended:", "no JSON"]);
    });
}

#[test]
fn a_server_without_digests_fails_a_lane_that_wants_them_and_serves_one_that_does_not() {
    let lab = lab().scenario("needs = { 'keyboard' }", "t.keyboard:type('hello')");
    let withholding = guest(Manners { withholds: "digest_updated", ..Manners::default() });
    let server = guest(Manners { events: &["dropped", "surface_drawn"], ..Manners::default() });
    for server in [&withholding, &server] {
        let finished = run(&lab, server, &[]).exits_with(16);
        let _ = finished.says(&[
            "LANE  it",
            "the control server \"played\" at ",
            "protocol 1.2) does not tell `digest_updated`",
            "hint: ",
            "digest-decode",
        ]);
    }
    let lab = lab.file("lanes/theirs.toml", "kind = \"attach\"\n");
    let _ = run(&lab, &server, &[]).exits_with(0).says(&["1 passed"]);
    assert_eq!(server.typed(), "hello");
}

#[test]
fn what_a_socket_cannot_carry_is_skipped_with_the_reason() {
    let server = guest(Manners::default());
    let body = "scenario('mouse', { needs = { 'mouse' } }, function() end)\n\
                scenario('agent', { needs = { 'agent' } }, function() end)";
    let lab = lab().file("a.lua", body);
    let why =
        "a control socket carries none; name the machine's own console with BACKSTAFF_SPICE or BACKSTAFF_VV";
    let _ = run(&lab, &server, &[]).exits_with(77).says(&[
        "SKIP  mouse",
        "lane \"theirs\" is not configured for mouse",
        why,
        "SKIP  agent",
        why,
    ]);
}

#[test]
fn what_is_configured_and_does_not_work_names_the_remedy() {
    let lab = lab().scenario("", "error('never runs')").file("file", "").file("ticket", "x");
    let folder = tempfile::tempdir().unwrap();
    let stale = stale(folder.path());
    let qmp = super::played::listen(|mut stream| {
        use std::io::{Read as _, Write as _};
        stream.write_all(b"{\"QMP\": {}}\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let server = guest(Manners::default());
    let socket = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    type More<'a> = &'a [(&'a str, &'a str)];
    let cases: [(String, More<'_>, &str, &str); 6] = [
        ("none.sock".to_owned(), &[], "no socket at none.sock", "is the server running?"),
        ("file".to_owned(), &[], "file is not a socket", "the path that the server was started with"),
        (socket(&stale), &[], "nobody listens on", "start it again"),
        (socket(&qmp.1), &[], "not a control socket", "such as QMP"),
        (
            socket(&server.path),
            &[("BACKSTAFF_SPICE_PASSWORD_FILE", "ticket")],
            "BACKSTAFF_SPICE_PASSWORD_FILE is about opening a console, and the one behind the control socket that \
             BACKSTAFF_CONTROL_SOCKET names is open",
            "leave it out here",
        ),
        (
            socket(&server.path),
            &[("BACKSTAFF_SPICE", "h:1")],
            "BACKSTAFF_CONTROL_SOCKET and BACKSTAFF_SPICE both say where the console is",
            "unset one of them",
        ),
    ];
    for (socket, more, wanted, remedy) in cases {
        let command = lab.command(&["run", "a.lua"]).env("BACKSTAFF_CONTROL_SOCKET", &socket);
        let command = more.iter().fold(command, |command, (name, value)| command.env(name, value));
        let _ = command.run().exits_with(16).within(60).says(&["LANE  it", wanted, "hint: ", remedy]);
    }
    let finished = run(&lab, &server, &["--record", "logs/a.spicerec"]).exits_with(16);
    let _ = finished.says(&["cannot be recorded", "hint: leave `--record` out"]);
}
