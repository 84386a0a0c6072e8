//! A guest's agent that is nothing but a ROM, behind a real SPICE server: what `t.agent` says and hears.

use std::time::{Duration, Instant};

use std::path::PathBuf;

use backstaff::console::served::ServedConsole;
use backstaff::console::spice::SpiceConsole;
use backstaff::console::{Console, ConsoleListener};
use backstaff::control::client::{Client, ClientOptions};
use backstaff::control::protocol::{
    Call, ClipboardGetResult, ClipboardText, Event, EventNames, Size, StatusResult, SubscribeResult,
};
use backstaff::control::server::{ControlServer, ServerOptions};
use backstaff::journal::Journal;
use backstaff::lane::Platform;
use backstaff::lane::handle::{Capability, LaneHandle};
use backstaff::lane::process::QemuProcess;
use backstaff::script::{AttemptOptions, Failure, FailureKind, Lanes, Outcome, Script, load, run_attempt};
use backstaff::spice::wire::agent::{AgentMessage, ClipboardKind, Selection, capability};
use backstaff::spice::wire::link::Capabilities;
use backstaff::spice::{Endpoint, SessionOptions};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::support::{PATIENCE, platform_or_skip, spawn};

#[tokio::test(flavor = "multi_thread")]
async fn text_goes_both_ways_and_a_size_is_answered() {
    let Some(platform) = platform_or_skip("a ROM that is an agent").await else { return };
    let machine = RomAgent::boot(platform).await;
    let (console, events) =
        SpiceConsole::connect(SessionOptions::new(Endpoint::Unix(machine.socket.clone()))).await.unwrap();
    let journal = Journal::new();
    let console: Arc<dyn Console> = console;
    backstaff::oracle::watch::spawn(
        Arc::clone(&console),
        events,
        journal.clone(),
        backstaff::oracle::watch::Digests::Ignored,
        None,
    );
    let (_end, ended) = watch::channel(None);
    let lane = LaneHandle {
        name: "agent".to_owned(),
        capabilities: [Capability::Agent].into(),
        console: Some(Arc::clone(&console)),
        faults: None,
        standstill: None,
        speed: None,
        qemu_log: None,
        control: None,
        ended,
    };
    let outcome = play(
        &lane,
        &journal,
        r#"
        local agent = t.agent
        agent:wait_for { timeout = 60 }
        expect(agent:is_connected()):is_true()
        expect(agent:capabilities()):contains("clipboard_selection")
        expect(agent:paste { timeout = 60 }):equals("text from the ROM\nin two lines")
        expect(agent:clipboard()):equals { "text" }
        agent:copy("text for the ROM")
        agent:wait_for_taken { timeout = 60 }
        expect(agent:clipboard() == nil):is_true()
        agent:resize(1024, 768, { timeout = 60 })
        "#,
    )
    .await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}\n{:?}", journal.all_after(Default::default()));
    machine.until_given("text for the ROM\n").await;
    let story = format!("{:?}", journal.all_after(Default::default()));
    assert!(
        story.contains("sha256:") && !story.contains("text for the ROM"),
        "contents are not recorded: {story}"
    );
    let Outcome::Failed(failure, _) = play(&lane, &journal, "t.agent:paste { timeout = 0.2 }").await else {
        panic!("the guest offers nothing new")
    };
    let Failure { kind, message, .. } = *failure;
    assert_eq!(kind, FailureKind::Timeout);
    assert!(
        message.starts_with("agent:paste: no match for text that the guest offers within 0.2 s"),
        "{message}"
    );
    console.close().await;
    drop(machine);
}

/// Plays a scenario at a machine that is nothing but an agent; nothing where this host cannot, and says so.
pub(crate) async fn play_at_an_agent(test: &str, source: &str) -> Option<Outcome> {
    let machine = RomAgent::boot(platform_or_skip(test).await?).await;
    let (console, events) =
        SpiceConsole::connect(SessionOptions::new(Endpoint::Unix(machine.socket.clone()))).await.unwrap();
    let journal = Journal::new();
    let console: Arc<dyn Console> = console;
    let digests = backstaff::oracle::watch::Digests::Ignored;
    backstaff::oracle::watch::spawn(Arc::clone(&console), events, journal.clone(), digests, None);
    let (_end, ended) = watch::channel(None);
    let lane = LaneHandle {
        name: "agent".to_owned(),
        capabilities: [Capability::Agent, Capability::Keyboard].into(),
        console: Some(Arc::clone(&console)),
        faults: None,
        standstill: None,
        speed: None,
        qemu_log: None,
        control: None,
        ended,
    };
    let outcome = play_source(&lane, &journal, source).await;
    console.close().await;
    Some(outcome)
}

/// A machine that is nothing but an agent.
struct RomAgent {
    _process: QemuProcess,
    folder: tempfile::TempDir,
    socket: PathBuf,
    deadline: Instant,
}

impl RomAgent {
    async fn boot(platform: Platform) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rom.bin"), rom()).unwrap();
        // A port that is open as soon as the machine is there, unlike a virtio one, which wants a driver.
        let argv = [
            "-nodefaults",
            "-display",
            "none",
            "-machine",
            "q35,accel=tcg",
            "-m",
            "16",
            "-vga",
            "none",
            "-bios",
            "rom.bin",
            "-serial",
            "file:serial.log",
            "-chardev",
            "spicevmc,id=agent,name=vdagent",
            "-device",
            "isa-serial,chardev=agent",
            "-spice",
            "unix=on,addr=spice,disable-ticketing=on",
        ];
        let argv: Vec<String> =
            std::iter::once(platform.qemu).chain(argv.iter().map(|word| (*word).to_owned())).collect();
        let process = spawn(&argv, folder.path()).await;
        let socket = folder.path().join("spice");
        let deadline = Instant::now() + PATIENCE;
        while !socket.exists() {
            assert!(Instant::now() < deadline, "no socket");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { _process: process, folder, socket, deadline }
    }

    /// Waits until the ROM was given this text.
    async fn until_given(&self, text: &str) {
        let serial = || std::fs::read_to_string(self.folder.path().join("serial.log")).unwrap_or_default();
        while serial() != text {
            assert!(Instant::now() < self.deadline + PATIENCE, "{:?}", serial());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_goes_both_ways_through_a_control_socket_too() {
    let Some(platform) = platform_or_skip("a ROM that is an agent, on a control socket").await else {
        return;
    };
    let machine = RomAgent::boot(platform).await;
    let path = machine.folder.path().join("control");
    let served = ServedConsole::new();
    let stop = CancellationToken::new();
    let server = ControlServer::bind(&path).unwrap();
    let (desk, hub) = (Arc::new(served.clone()), served.hub());
    let serving = tokio::spawn(server.serve(desk, hub, ServerOptions::new("test"), stop.clone()));
    let options = ClientOptions { client_name: "test".to_owned(), deadline: PATIENCE, answer: PATIENCE };
    let (client, mut events) = Client::connect(&path, options).await.unwrap();
    let wanted = ["agent_connected", "clipboard_changed", "input_rtt"].map(str::to_owned);
    let _: SubscribeResult =
        client.call(Call::Subscribe(EventNames { events: wanted.into() })).await.unwrap();

    let (console, told) =
        SpiceConsole::connect(SessionOptions::new(Endpoint::Unix(machine.socket.clone()))).await.unwrap();
    let console: Arc<dyn Console> = console;
    let listener: Arc<dyn ConsoleListener> = Arc::new(served);
    let digests = backstaff::oracle::watch::Digests::Ignored;
    backstaff::oracle::watch::spawn(Arc::clone(&console), told, Journal::new(), digests, Some(listener));
    let mut missing = vec!["agent_connected", "clipboard_changed", "input_rtt"];
    while !missing.is_empty() {
        let event = tokio::time::timeout_at((machine.deadline + PATIENCE).into(), events.recv()).await;
        let event = event.unwrap_or_else(|_| panic!("never told: {missing:?}")).unwrap();
        match event {
            Event::AgentConnected { connected } => assert!(connected),
            Event::ClipboardChanged { bytes } => assert_eq!(bytes, 30),
            Event::InputRtt { rtt_ms, .. } => assert!(rtt_ms > 0.0),
            _ => {}
        }
        missing.retain(|name| *name != event.kind().name());
    }
    let status: StatusResult = client.call(Call::Status).await.unwrap();
    assert!(status.agent_connected && status.spice_connected);
    let text: ClipboardGetResult = client.call(Call::ClipboardGet).await.unwrap();
    assert_eq!(text.text.as_deref(), Some("text from the ROM\nin two lines"));
    let size: Size = client.call(Call::Resize(Size { width: 1_027, height: 768 })).await.unwrap();
    assert_eq!(size, Size { width: 1_024, height: 768 });
    let text = "text for the ROM".to_owned();
    let _: serde_json::Value = client.call(Call::ClipboardSet(ClipboardText { text })).await.unwrap();
    machine.until_given("text for the ROM\n").await;
    stop.cancel();
    serving.await.unwrap().unwrap();
    console.close().await;
}

async fn play(lane: &LaneHandle, journal: &Journal, body: &str) -> Outcome {
    play_source(lane, journal, &format!("scenario('it', {{ timeout = 200 }}, function(t)\n{body}\nend)"))
        .await
}

async fn play_source(lane: &LaneHandle, journal: &Journal, source: &str) -> Outcome {
    let script = Script { path: "case.lua".into(), source: source.into() };
    let scenario = load(&script).unwrap().remove(0);
    let folder = tempfile::tempdir().unwrap();
    run_attempt(AttemptOptions {
        script,
        scenario,
        journal: journal.clone(),
        attempt: 1,
        lanes: Lanes::One(lane.clone()),
        folder: folder.path().to_owned(),
        params: json!({}),
        prompts: None,
        is_session: false,
        cancel: CancellationToken::new(),
    })
    .await
}

/// Answers each kind of message with canned ones, and writes the text it is given to the first serial port.
fn rom() -> Vec<u8> {
    let mut rom = vec![0xF4; 0x1_0000];
    let mut put = |at: usize, bytes: &[u8]| rom[at..at + bytes.len()].copy_from_slice(bytes);
    let (selection, kind) = (Selection::CLIPBOARD, ClipboardKind::TEXT);
    let capabilities = Capabilities::of(&[
        capability::MONITORS_CONFIG,
        capability::REPLY,
        capability::CLIPBOARD_BY_DEMAND,
        capability::CLIPBOARD_SELECTION,
    ]);
    let announce = AgentMessage::Announce { wants_answer: false, capabilities };
    let grab = AgentMessage::Grab { selection, kinds: vec![kind] };
    put(0xE000, &canned(&[announce, grab]));
    put(0xE100, &canned(&[AgentMessage::Request { selection, kind }]));
    let data = b"text from the ROM\nin two lines";
    put(0xE200, &canned(&[AgentMessage::Clipboard { selection, kind, data }]));
    put(0xE300, &canned(&[AgentMessage::Reply { to: AgentMessage::MONITORS_CONFIG, error: 1 }]));
    // Of each message the VDIChunkHeader goes to 0x500, the VDAgentMessage to 0x510 and the payload to 0x600.
    #[rustfmt::skip]
    put(0xF000, &[
        0xFA,                    // start:     cli
        0x31, 0xC0,              //            xor %ax,%ax
        0x8E, 0xD8,              //            mov %ax,%ds
        0x8E, 0xC0,              //            mov %ax,%es
        0x8E, 0xD0,              //            mov %ax,%ss
        0xBC, 0x00, 0x70,        //            mov $0x7000,%sp
        0xB9, 0x08, 0x00,        // next:      mov $0x8,%cx
        0xBF, 0x00, 0x05,        //            mov $0x500,%di
        0xE8, 0x6A, 0x00,        //            call read
        0xB9, 0x14, 0x00,        //            mov $0x14,%cx
        0xBF, 0x10, 0x05,        //            mov $0x510,%di
        0xE8, 0x61, 0x00,        //            call read
        0x8B, 0x0E, 0x20, 0x05,  //            mov 0x520,%cx
        0xBF, 0x00, 0x06,        //            mov $0x600,%di
        0x51,                    //            push %cx
        0xE8, 0x56, 0x00,        //            call read
        0x59,                    //            pop %cx
        0xA0, 0x14, 0x05,        //            mov 0x514,%al
        0xBE, 0x00, 0xE0,        //            mov $0xe000,%si
        0x3C, 0x06,              //            cmp $0x6,%al
        0x74, 0x2B,              //            je answer
        0xBE, 0x00, 0xE1,        //            mov $0xe100,%si
        0x3C, 0x07,              //            cmp $0x7,%al
        0x74, 0x24,              //            je answer
        0xBE, 0x00, 0xE2,        //            mov $0xe200,%si
        0x3C, 0x08,              //            cmp $0x8,%al
        0x74, 0x1D,              //            je answer
        0xBE, 0x00, 0xE3,        //            mov $0xe300,%si
        0x3C, 0x02,              //            cmp $0x2,%al
        0x74, 0x16,              //            je answer
        0x3C, 0x04,              //            cmp $0x4,%al
        0x75, 0xBF,              //            jne next
        0xBE, 0x08, 0x06,        //            mov $0x608,%si
        0x83, 0xE9, 0x08,        //            sub $0x8,%cx
        0xBA, 0xF8, 0x03,        //            mov $0x3f8,%dx
        0xAC,                    // more:      lods %ds:(%si),%al
        0xEE,                    //            out %al,(%dx)
        0xE2, 0xFC,              //            loop more
        0xB0, 0x0A,              //            mov $0xa,%al
        0xEE,                    //            out %al,(%dx)
        0xEB, 0xAD,              //            jmp next
        0xE8, 0x02, 0x00,        // answer:    call say
        0xEB, 0xA8,              //            jmp next
        0x2E, 0xAC,              // say:       lods %cs:(%si),%al
        0x88, 0xC1,              //            mov %al,%cl
        0x30, 0xED,              //            xor %ch,%ch
        0xE3, 0x12,              //            jcxz said
        0xBA, 0xFD, 0x02,        // byte:      mov $0x2fd,%dx
        0xEC,                    // wait_out:  in (%dx),%al
        0xA8, 0x20,              //            test $0x20,%al
        0x74, 0xFB,              //            je wait_out
        0x2E, 0xAC,              //            lods %cs:(%si),%al
        0xBA, 0xF8, 0x02,        //            mov $0x2f8,%dx
        0xEE,                    //            out %al,(%dx)
        0xE2, 0xF0,              //            loop byte
        0xEB, 0xE6,              //            jmp say
        0xC3,                    // said:      ret
        0xE3, 0xFD,              // read:      jcxz said
        0xBA, 0xFD, 0x02,        //            mov $0x2fd,%dx
        0xEC,                    // wait_in:   in (%dx),%al
        0xA8, 0x01,              //            test $0x1,%al
        0x74, 0xFB,              //            je wait_in
        0xBA, 0xF8, 0x02,        //            mov $0x2f8,%dx
        0xEC,                    //            in (%dx),%al
        0xAA,                    //            stos %al,%es:(%di)
        0xE2, 0xEF,              //            loop read
        0xC3,                    //            ret
    ]);
    put(0xFFF0, &[0xE9, 0x0D, 0xF0]); // jmp 0xF000
    rom
}

/// Messages as the ROM says them: each in a chunk for the client, behind its length; a length of 0 ends them.
fn canned(messages: &[AgentMessage<'_>]) -> Vec<u8> {
    const CLIENT_PORT: u32 = 1;
    let mut bytes = Vec::new();
    for message in messages {
        let message = message.encode(true);
        bytes.push(u8::try_from(8 + message.len()).unwrap());
        bytes.extend(CLIENT_PORT.to_le_bytes());
        bytes.extend(u32::try_from(message.len()).unwrap().to_le_bytes());
        bytes.extend(message);
    }
    bytes.push(0);
    bytes
}
