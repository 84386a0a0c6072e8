//! Lanes on machines of somebody else's: connected to by every kind of address, told how they end, and left running.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use backstaff::journal::{Body, Cursor, Journal, Source};
use backstaff::lane::attach::AttachMemory;
use backstaff::lane::attach_settings::{Address, Configured, ConsoleSource, Origin, PasswordSource};
use backstaff::lane::handle::{EndClass, LaneEnd};
use backstaff::lane::profile::{Gate, GateKind, QmpAllow};
use backstaff::lane::qmp::QmpClient;
use backstaff::lane::{AttachSettings, AttachedLane, LaneError};
use backstaff::spice::{Endpoint, Session, SessionOptions};
use rustix::process::Signal;
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

use super::somebody::{Somebody, TICKET, UNIX, host, tcp_with_ticket, write};
use super::support::PATIENCE;

fn said<T>(value: T) -> Configured<T> {
    Configured { value, origin: Origin::Environment("BACKSTAFF_TEST") }
}

/// Settings that say where the console is and nothing else.
fn console(source: ConsoleSource) -> AttachSettings {
    AttachSettings {
        name: "theirs".to_owned(),
        consoles: vec![said(source)],
        passwords: Vec::new(),
        ca: None,
        host_subject: None,
        proxy: None,
        serial_log: None,
        qmp: None,
        agent: false,
        digest: false,
        gates: vec![Gate { kind: GateKind::SpiceSurface, timeout: PATIENCE }],
        qmp_allow: QmpAllow::default(),
    }
}

fn spice(address: &str) -> AttachSettings {
    console(ConsoleSource::Spice(Address(address.to_owned())))
}

/// Every wire of a machine that was booted with [`UNIX`].
fn all_wires(somebody: &Somebody) -> AttachSettings {
    let qmp = Gate { kind: GateKind::Qmp, timeout: PATIENCE };
    let mut settings = spice(&somebody.unix_uri());
    settings.serial_log = Some(said(somebody.path("serial.log")));
    settings.qmp = Some(said(somebody.path("qmp.sock")));
    settings.gates.push(qmp);
    settings
}

async fn up(settings: &AttachSettings, journal: &Journal) -> Result<AttachedLane, LaneError> {
    let mut memory = AttachMemory::default();
    AttachedLane::up(settings, &mut memory, journal, &CancellationToken::new()).await
}

async fn refused(settings: &AttachSettings) -> (String, String) {
    let journal = Journal::new();
    let Err(error) = up(settings, &journal).await else { panic!("it came up") };
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    assert!(
        states(&journal).ends_with(&["stopping".to_owned(), "down".to_owned()]),
        "{:?}",
        states(&journal)
    );
    assert!(!text.contains(TICKET), "{text}");
    (text, error.hint().unwrap_or_default())
}

/// Without the gates that were waited for.
fn states(journal: &Journal) -> Vec<String> {
    let events = journal.after(Source::Lane, Cursor::default());
    let states = events.iter().filter_map(|event| match &event.body {
        Body::LaneState { state, .. } if state != "waiting" => Some(state.clone()),
        _ => None,
    });
    states.collect()
}

fn serial_lines(journal: &Journal) -> Vec<String> {
    let events = journal.after(Source::Serial, Cursor::default());
    let lines = events.iter().filter_map(|event| match &event.body {
        Body::SerialLine { text } => Some(text.clone()),
        _ => None,
    });
    lines.collect()
}

async fn end_of(lane: &AttachedLane) -> LaneEnd {
    let mut ended = lane.handle().ended;
    let end = tokio::time::timeout(PATIENCE, ended.wait_for(Option::is_some)).await.unwrap().unwrap().clone();
    end.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wire_is_used_from_now_on_and_the_machine_goes_on_afterwards() {
    let Some(platform) = host("an attached lane with every wire").await else { return };
    let somebody = Somebody::with_rom(&platform, UNIX).await;
    let log = somebody.path("serial.log");
    while !std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with("login: ")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let journal = Journal::new();
    let lane = up(&all_wires(&somebody), &journal).await.unwrap();
    let handle = lane.handle();
    let names: Vec<&str> = handle.capabilities.iter().map(|one| one.name()).collect();
    assert_eq!(names, ["keyboard", "mouse", "qmp", "screen", "serial"]);
    assert!(handle.console.is_some());
    let control = handle.control.unwrap();
    let status = control.qmp("query-status", Map::new()).await.unwrap();
    assert_eq!(status["status"], "running");
    assert!(control.qmp("quit", Map::new()).await.is_err(), "the profile does not allow it");

    let mut file = std::fs::File::options().append(true).open(&log).unwrap();
    std::io::Write::write_all(&mut file, b"root\nwelcome\n").unwrap();
    let welcome = |event: &backstaff::journal::Event| matches!(&event.body, Body::SerialLine { text } if text == "welcome");
    let mut cursor = Cursor::default();
    tokio::time::timeout(PATIENCE, journal.next_match(Source::Serial, &mut cursor, welcome)).await.unwrap();
    assert_eq!(serial_lines(&journal), ["root", "welcome"], "what was there before is left alone");

    lane.down().await;
    assert_eq!(states(&journal), ["starting", "attaching", "ready", "stopping", "down"]);
    assert_eq!(handle.ended.borrow().as_ref().unwrap().class, EndClass::TakenDown);
    somebody.assert_left_alone().await;
    // And again, as the next scenario does.
    let lane = up(&all_wires(&somebody), &Journal::new()).await.unwrap();
    drop(lane);
    somebody.assert_left_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_come_from_the_address_a_variable_or_a_file_and_a_wrong_one_is_refused() {
    let Some(platform) = host("an attached lane with a ticket").await else { return };
    let (served, port) = tcp_with_ticket();
    let somebody = Somebody::with_rom(&platform, &served).await;
    let address = format!("127.0.0.1:{port}");
    let file = somebody.path("ticket");
    write(&file, "hunter2\n");
    let with = |password| {
        let mut settings = spice(&address);
        settings.passwords = vec![said(password)];
        settings
    };
    let text = |text: &str| PasswordSource::Text(text.to_owned().into());
    // What is said apart wins over what the address says.
    let mut both = spice(&format!("spice://127.0.0.1?port={port}&password=wrong"));
    both.passwords = vec![said(text(TICKET))];
    let good = [
        spice(&format!("spice://{address}?password=%68unter2")),
        with(text(TICKET)),
        with(PasswordSource::File(file)),
        both,
    ];
    for settings in good {
        up(&settings, &Journal::new()).await.unwrap().down().await;
    }
    for settings in [with(text("hunter3")), spice(&address)] {
        let (text, hint) = refused(&settings).await;
        assert!(text.starts_with("open the console that BACKSTAFF_TEST names: open main"), "{text}");
        assert!(hint.contains("BACKSTAFF_SPICE_PASSWORD"), "{hint}");
    }
    let (text, hint) = refused(&with(PasswordSource::File("/nowhere/ticket".into()))).await;
    assert!(text.contains("read the ticket from \"/nowhere/ticket\""), "{text}");
    assert!(hint.contains("BACKSTAFF_SPICE_PASSWORD_FILE"), "{hint}");
    somebody.assert_left_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_file_is_deleted_when_it_asks_for_that_and_remembered_for_the_run() {
    let Some(platform) = host("an attached lane by a connection file").await else { return };
    let (served, port) = tcp_with_ticket();
    let somebody = Somebody::with_rom(&platform, &served).await;
    let path = somebody.path("console.vv");
    let text = format!("[virt-viewer]\ntype=spice\nhost=127.0.0.1\nport={port}\npassword={TICKET}\n");
    let settings = console(ConsoleSource::Vv(path.clone()));
    let mut memory = AttachMemory::default();
    let (journal, cancel) = (Journal::new(), CancellationToken::new());

    write(&path, &text);
    AttachedLane::up(&settings, &mut memory, &journal, &cancel).await.unwrap().down().await;
    assert!(path.exists(), "it did not ask to be deleted");
    std::fs::remove_file(&path).unwrap();
    let Err(error) = AttachedLane::up(&settings, &mut memory, &journal, &cancel).await else { panic!() };
    assert!(error.to_string().starts_with("read the connection file"), "{error}");

    write(&path, &(text + "delete-this-file=1\n"));
    for _ in 0..2 {
        AttachedLane::up(&settings, &mut memory, &journal, &cancel).await.unwrap().down().await;
        assert!(!path.exists());
    }
    somebody.assert_left_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_configured_and_does_not_work_is_named_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    drop(std::os::unix::net::UnixListener::bind(path("dead.sock")).unwrap());
    write(&path("empty.vv"), "");
    write(&path("tls.vv"), "[virt-viewer]\ntype=spice\nhost=127.0.0.1\ntls-port=1\npassword=hunter2\n");
    let secure = "[virt-viewer]\ntype=spice\nhost=h\nport=1\nsecure-channels=playback;inputs;\n";
    write(&path("secure.vv"), secure);
    write(&path("proxy.vv"), "[virt-viewer]\ntype=spice\nhost=h\nport=1\nproxy=https://me:hunter2@p\n");
    let dead = format!("spice+unix://{}", path("dead.sock").display());
    let vv = |name: &str| console(ConsoleSource::Vv(path(name)));
    let only = |change: fn(&mut AttachSettings, PathBuf), name: &str| {
        let mut settings = spice("unused:1");
        settings.consoles.clear();
        settings.gates.clear();
        change(&mut settings, path(name));
        settings
    };
    let serial = |settings: &mut AttachSettings, path| settings.serial_log = Some(said(path));
    let qmp = |settings: &mut AttachSettings, path| settings.qmp = Some(said(path));
    let mut two = spice("h:1");
    two.consoles.push(said(ConsoleSource::Vv("/a.vv".into())));
    let mut control = spice("h:1");
    control.consoles.insert(0, said(ConsoleSource::ControlSocket("/c.sock".into())));
    let trusting = |mut settings: AttachSettings| {
        settings.ca = Some(said("/nowhere/ca.pem".into()));
        settings
    };
    let mut two_passwords = spice("h:1");
    let password = || said(PasswordSource::Text(TICKET.to_owned().into()));
    two_passwords.passwords = vec![password(), password()];

    let cases = [
        (
            spice("spice://h?prot=5900&password=hunter2"),
            "unknown key `prot`, did you mean `port`?",
            "known keys",
        ),
        (spice("spice://hunter2@h:5900"), "holds user information", "a ticket needs no user name"),
        (spice("h"), "BACKSTAFF_TEST is no address: the address names no port", "known forms"),
        (
            spice("spice+tls://127.0.0.1:1"),
            "connect to 127.0.0.1:1: Connection refused",
            "is the machine running",
        ),
        (
            trusting(spice("spice://h:1")),
            "BACKSTAFF_TEST is about TLS, and the console has no TLS port",
            "spice+tls://",
        ),
        (
            trusting(spice("spice+tls://h:1")),
            "read the certificate authority from \"/nowhere/ca.pem\" (BACKSTAFF_TEST): No such file",
            "name a PEM file",
        ),
        (spice(&dead), "dead.sock: Connection refused", "is the machine running"),
        (spice("spice+unix:///nowhere/s"), "/nowhere/s: No such file", "is the machine running"),
        (vv("none.vv"), "none.vv\" (BACKSTAFF_TEST): No such file", "fetch a new one"),
        (vv("."), "Is a directory", "fetch a new one"),
        (vv("empty.vv"), "is no connection file: there is no group `[virt-viewer]`", "type=spice"),
        (vv("tls.vv"), "connect to 127.0.0.1:1: Connection refused", "is the machine running"),
        (vv("secure.vv"), "`secure-channels` demands TLS for inputs, and no TLS port is given", "`tls-port`"),
        (
            vv("proxy.vv"),
            "line 5: `proxy` is no URL of an HTTP proxy: unknown scheme `https://`",
            "[virt-viewer]",
        ),
        (only(serial, "none.log"), "BACKSTAFF_TEST names: follow serial log", "-serial file:PATH"),
        (only(serial, "."), "not a regular file", "-serial file:PATH"),
        (only(qmp, "dead.sock"), "attach to QMP at", "-qmp unix:PATH"),
        (only(qmp, "none.sock"), "No such file", "-qmp unix:PATH"),
        (two, "both say where the console is", "unset one"),
        (control, "BACKSTAFF_TEST and BACKSTAFF_TEST both say where the console is", "unset one"),
        (two_passwords, "both say what the ticket is", "unset one"),
    ];
    for (settings, wanted, remedy) in cases {
        let (text, hint) = refused(&settings).await;
        assert!(text.contains(wanted), "{wanted}: {text}");
        assert!(hint.contains(remedy), "{wanted}: {hint}");
    }
    assert!(path("tls.vv").exists() && path("empty.vv").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qmp_socket_that_serves_somebody_else_is_told_apart() {
    let Some(platform) = host("an attached lane and a busy QMP socket").await else { return };
    let somebody = Somebody::with_rom(&platform, UNIX).await;
    let folder = somebody.path("");
    let (other, _events) = QmpClient::connect(&folder, "qmp.sock", PATIENCE).await.unwrap();
    let (text, hint) = refused(&all_wires(&somebody)).await;
    assert!(text.contains("qmp greeting: no answer within"), "{text}");
    assert!(hint.contains("one client at a time") && hint.contains("second `-qmp`"), "{hint}");
    other.close().await;
    somebody.assert_left_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_killed_is_a_lost_one_with_qmp_and_a_closed_one_without() {
    let Some(platform) = host("an attached machine that is killed").await else { return };
    for has_qmp in [true, false] {
        let somebody = Somebody::with_rom(&platform, UNIX).await;
        let mut settings = all_wires(&somebody);
        if !has_qmp {
            settings.qmp = None;
            settings.gates.pop();
        }
        let journal = Journal::new();
        let lane = up(&settings, &journal).await.unwrap();
        let began = Instant::now();
        somebody.signal(Signal::KILL);
        let end = end_of(&lane).await;
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        match has_qmp {
            true => assert!(end.class == EndClass::Host && end.how.contains("killed"), "{end:?}"),
            false => assert!(end.class == EndClass::Closed && end.how.contains("other side"), "{end:?}"),
        }
        lane.down().await;
        assert_eq!(states(&journal).last().unwrap(), "down");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn qmp_tells_an_owner_who_quits_from_a_client_who_takes_over() {
    let Some(platform) = host("an attached machine and its owner").await else { return };
    let somebody = Somebody::with_rom(&platform, UNIX).await;
    let lane = up(&all_wires(&somebody), &Journal::new()).await.unwrap();
    let theirs = SessionOptions::new(Endpoint::Unix(somebody.path("spice.sock")));
    let (other, _events) = Session::connect(theirs).await.unwrap();
    let end = end_of(&lane).await;
    assert!(end.class == EndClass::Host && end.how.contains("another client took it over"), "{end:?}");
    lane.down().await;
    other.shutdown().await;
    somebody.assert_left_alone().await;

    let lane = up(&all_wires(&somebody), &Journal::new()).await.unwrap();
    somebody.execute("quit").await;
    let end = end_of(&lane).await;
    assert!(end.class == EndClass::Host && end.how.contains("host-qmp-quit"), "{end:?}");
    somebody.exited().await;
    lane.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_migrates_ends_the_lane_with_the_host_it_went_to() {
    let Some(platform) = host("an attached machine that migrates").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let wire = format!("unix:{}", folder.path().join("wire").display());
    let somebody = Somebody::with_rom(&platform, UNIX).await;
    let there = Somebody::with_rom_and(&platform, UNIX, &["-incoming", &wire]).await;
    let lane = up(&all_wires(&somebody), &Journal::new()).await.unwrap();
    let to = json!({ "protocol": "spice", "hostname": "west.example", "port": 5930 });
    somebody.execute_with("client_migrate_info", to).await;
    somebody.execute_with("migrate", json!({ "uri": wire })).await;
    let end = end_of(&lane).await;
    let how = "the machine was migrated to west.example, port 5930; it has to be attached to there";
    assert!(end.class == EndClass::Host && end.how == how, "{end:?}");
    lane.down().await;
    let lane = up(&all_wires(&there), &Journal::new()).await.unwrap();
    lane.down().await;
    there.assert_left_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_hangs_is_left_within_seconds() {
    let Some(platform) = host("an attached machine that hangs").await else { return };
    let somebody = Somebody::with_rom(&platform, UNIX).await;
    let lane = up(&all_wires(&somebody), &Journal::new()).await.unwrap();
    somebody.signal(Signal::STOP);
    let began = Instant::now();
    lane.down().await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    somebody.signal(Signal::CONT);
    somebody.assert_left_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_is_not_reached_and_a_cancelled_bring_up_leave_the_machine_alone() {
    let Some(platform) = host("an attached lane that does not come up").await else { return };
    let somebody = Somebody::with_rom(&platform, UNIX).await;
    let mut settings = all_wires(&somebody);
    let pattern = "never".to_owned();
    settings.gates.push(Gate { kind: GateKind::SerialLine { pattern }, timeout: Duration::from_millis(100) });
    let (text, _) = refused(&settings).await;
    assert!(text.starts_with("gate `serial-line` was not reached"), "{text}");
    somebody.assert_left_alone().await;

    settings.gates.last_mut().unwrap().timeout = PATIENCE;
    let cancel = CancellationToken::new();
    let (journal, mut memory) = (Journal::new(), AttachMemory::default());
    let coming_up = AttachedLane::up(&settings, &mut memory, &journal, &cancel);
    let cancelled = async {
        let passed = |event: &backstaff::journal::Event| matches!(&event.body, Body::Gate { gate, passed: true, .. } if gate == "qmp");
        let mut cursor = Cursor::default();
        tokio::time::timeout(PATIENCE, journal.next_match(Source::Lane, &mut cursor, passed)).await.unwrap();
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(coming_up, cancelled);
    assert!(matches!(result, Err(LaneError::Cancelled)));
    somebody.assert_left_alone().await;
}
