//! TLS between our client and our server, and between our client and those of QEMU: who is believed, and what becomes of
//! everybody else.

use std::time::{Duration, Instant};

use backstaff::spice::server::{InputEvent, ServeError, ServerEvent, ServerHandle, ServerOptions, serve};
use backstaff::spice::{
    CertificateProblem, ChannelType, ConnectionTarget, Endpoint, Identity, LinkError, ProxyUrl, Session,
    SessionError, SessionOptions, TargetError, TlsEndpoint, TlsError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::authority::Authority;
use crate::lane::somebody::{Somebody, TICKET, free_port, host};

/// Nothing here takes long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of ours for `localhost`, and the authority that stands for it.
struct Lab {
    authority: Authority,
    handle: ServerHandle,
    events: mpsc::Receiver<ServerEvent>,
}

impl Lab {
    async fn new() -> Self {
        let authority = Authority::new();
        let (chain, key) = authority.sign("vm", &["localhost", "127.0.0.1"]);
        Self::with(authority, Identity::from_pem(&chain, &key).ok()).await
    }

    async fn with(authority: Authority, identity: Option<Identity>) -> Self {
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
        let mut options = ServerOptions::new(endpoint);
        options.identity = identity;
        options.password = Some("secret".to_owned().into());
        let (handle, events) = serve(options).await.unwrap();
        Self { authority, handle, events }
    }

    fn port(&self) -> u16 {
        match self.handle.endpoint() {
            Endpoint::Tcp { port, .. } => *port,
            Endpoint::Unix(_) => panic!("it listens on TCP"),
        }
    }

    /// How a client gets in.
    fn target(&self) -> ConnectionTarget {
        let ca = Some(self.authority.pem());
        let tls =
            TlsEndpoint { host: "localhost".to_owned(), port: self.port(), ca, ..TlsEndpoint::default() };
        ConnectionTarget {
            tls: Some(tls),
            password: Some("secret".to_owned().into()),
            ..ConnectionTarget::default()
        }
    }

    fn plain_target(&self) -> ConnectionTarget {
        ConnectionTarget::from(Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: self.port() })
    }
}

async fn refused(target: ConnectionTarget) -> SessionError {
    refused_within(target, Duration::from_secs(10)).await
}

async fn refused_within(target: ConnectionTarget, handshake_timeout: Duration) -> SessionError {
    let mut options = SessionOptions::to(target);
    options.handshake_timeout = handshake_timeout;
    timeout(PATIENCE, Session::connect(options)).await.expect("in time").expect_err("no session")
}

fn tls_error(error: SessionError) -> TlsError {
    match error {
        SessionError::Tls { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

fn certificate_problem(error: SessionError) -> CertificateProblem {
    match tls_error(error) {
        TlsError::Certificate(problem) => problem,
        other => panic!("{other:?}"),
    }
}

/// Pixels that no two places share, so that no piece of them may be lost or come twice.
fn noise(count: u32) -> Vec<u8> {
    let pixel = |at: u32| {
        let [blue, green, red, _] = at.wrapping_mul(2_654_435_761).to_le_bytes();
        [blue, green, red, 0]
    };
    (0..count).flat_map(pixel).collect()
}

async fn shows(session: &Session, wanted: &[u8]) {
    let shown = async {
        loop {
            let primary = session.primary();
            let look = primary.and_then(|it| {
                session.with_surface(it.channel_id, it.surface_id, |surface| surface.pixels() == wanted)
            });
            if look == Some(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, shown).await.expect("the client sees what is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn pixels_and_keys_go_through_tls_whole_and_in_order() {
    let mut lab = Lab::new().await;
    let (session, _events) = Session::connect(SessionOptions::to(lab.target())).await.expect("connects");
    lab.handle.set_screen(1200, 900).unwrap();
    // More than a socket and TLS hold together, several times over.
    for shift in 0..4 {
        let mut wanted = noise(1200 * 900);
        wanted.rotate_left(4 * shift);
        lab.handle.draw(0, 0, 1200, &wanted).unwrap();
        shows(&session, &wanted).await;
    }
    for code in 1..=80 {
        session.key_down(code).unwrap();
        session.key_up(code).unwrap();
    }
    session.inputs_flushed().await.unwrap();
    let mut typed = Vec::new();
    while typed.len() < 160 {
        let event = timeout(PATIENCE, lab.events.recv()).await.expect("in time").expect("the server goes on");
        if let ServerEvent::Input { input: InputEvent::Key { code, is_down }, .. } = event {
            typed.push((code, is_down));
        }
    }
    let wanted: Vec<_> = (1..=80).flat_map(|code| [(code, true), (code, false)]).collect();
    assert_eq!(typed, wanted);
    session.shutdown().await;
    timeout(PATIENCE, lab.handle.finish(Duration::from_secs(10))).await.expect("it ends");
}

#[tokio::test]
async fn only_the_right_server_is_believed() {
    let lab = Lab::new().await;
    let tls = |change: &dyn Fn(&mut TlsEndpoint)| {
        let mut target = lab.target();
        change(target.tls.as_mut().unwrap());
        target
    };
    let (session, _events) =
        Session::connect(SessionOptions::to(tls(&|tls| tls.host_subject = Some("O=Us, CN=vm".to_owned()))))
            .await
            .expect("the subject is the right one");
    session.shutdown().await;
    let problem = certificate_problem(refused(tls(&|tls| tls.ca = Some(Authority::new().pem()))).await);
    assert!(matches!(problem, CertificateProblem::Untrusted { .. }), "{problem}");
    let error = refused(tls(&|tls| tls.host_subject = Some("CN=vm".to_owned()))).await;
    assert_eq!(error.to_string(), format!("open main 0: TLS with localhost:{}", lab.port()));
    assert_eq!(error.hint(), Some("the order and the kinds of the entries count, too"));
    assert!(matches!(certificate_problem(error), CertificateProblem::Subject { .. }));
    let error = tls_error(refused(tls(&|tls| tls.ca = Some("nonsense".to_owned()))).await);
    assert!(matches!(error, TlsError::Authority { .. }), "{error}");
    // Nobody in the system's store stands for it, if there is a store.
    let error = tls_error(refused(tls(&|tls| tls.ca = None)).await);
    assert!(
        matches!(error, TlsError::NoAuthority | TlsError::Certificate(CertificateProblem::Untrusted { .. })),
        "{error}"
    );
    let mut no_ticket = lab.target();
    no_ticket.password = None;
    assert!(matches!(refused(no_ticket).await, SessionError::Link { source: LinkError::Refused(_), .. }));
    assert_eq!(lab.handle.sessions(), 0);
}

#[tokio::test]
async fn certificates_for_others_and_of_the_past_are_refused() {
    let authority = Authority::new();
    let (chain, key) = authority.sign("localhost", &["elsewhere.example"]);
    let lab = Lab::with(authority, Identity::from_pem(&chain, &key).ok()).await;
    let problem = certificate_problem(refused(lab.target()).await);
    assert_eq!(problem.to_string(), "it is for elsewhere.example, not for \"localhost\"");
    let authority = Authority::new();
    let (chain, key) = authority.sign_expired("vm", &["localhost"]);
    let lab = Lab::with(authority, Identity::from_pem(&chain, &key).ok()).await;
    let problem = certificate_problem(refused(lab.target()).await);
    assert_eq!(problem.to_string(), "it is no longer valid");
}

#[tokio::test]
async fn who_speaks_tls_and_who_does_not_is_told_apart() {
    let lab = Lab::new().await;
    let error = refused(lab.plain_target()).await;
    assert!(error.hint().unwrap().contains("spice+tls://"), "{error:?}");
    assert!(matches!(error, SessionError::Link { source: LinkError::SpeaksTls, .. }), "{error:?}");
    let plain = Lab::with(Authority::new(), None).await;
    let error = tls_error(refused(plain.target()).await);
    assert!(matches!(error, TlsError::NotTls | TlsError::Closed), "{error:?}");
    assert!(error.hint().unwrap().contains("plain port"));
    // The servers have taken no harm.
    Session::connect(SessionOptions::to(lab.target())).await.expect("connects").0.shutdown().await;
}

#[tokio::test]
async fn silence_costs_the_handshake_timeout_and_no_more() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let ca = Some(Authority::new().pem());
    let tls = TlsEndpoint { host: "127.0.0.1".to_owned(), port, ca, ..TlsEndpoint::default() };
    let target = ConnectionTarget { tls: Some(tls), ..ConnectionTarget::default() };
    let (after, start) = (Duration::from_millis(100), Instant::now());
    let error = tls_error(refused_within(target.clone(), after).await);
    assert!(matches!(error, TlsError::Timeout { after: got } if got == after), "{error:?}");
    let proxy = ProxyUrl::parse(&format!("http://127.0.0.1:{port}")).ok();
    let error = refused_within(ConnectionTarget { proxy, ..target }, after).await;
    assert_eq!(
        chain(&error),
        format!("open main 0: no tunnel through the proxy 127.0.0.1:{port} within 100ms")
    );
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    drop(silent);

    // And the other way round: a client that says nothing does not keep its place.
    let mut options = ServerOptions::new(Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 0 });
    let (certificates, key) = Authority::new().sign("vm", &["localhost"]);
    options.identity = Identity::from_pem(&certificates, &key).ok();
    options.handshake_timeout = after;
    let (handle, _events) = serve(options).await.unwrap();
    let Endpoint::Tcp { host, port } = handle.endpoint() else { panic!("TCP") };
    let mut mute = TcpStream::connect((host.as_str(), *port)).await.unwrap();
    let end = timeout(PATIENCE, mute.read(&mut [0; 16])).await.expect("it is thrown out");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn a_unix_socket_has_no_tls_and_a_target_without_tls_no_secure_channels() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = ServerOptions::new(Endpoint::Unix(folder.path().join("spice")));
    let (certificates, key) = Authority::new().sign("vm", &["localhost"]);
    options.identity = Identity::from_pem(&certificates, &key).ok();
    assert!(matches!(serve(options).await, Err(ServeError::TlsOnUnix { .. })));

    let lab = Lab::with(Authority::new(), None).await;
    let mut target = lab.plain_target();
    target.password = Some("secret".to_owned().into());
    target.secure_channels = vec!["inputs".to_owned()];
    let error = refused(target.clone()).await;
    let SessionError::Target { channel, source: TargetError::SecureChannel { .. } } = error else {
        panic!("{error:?}");
    };
    assert_eq!(channel.channel_type, ChannelType::INPUTS);
    // What must not be opened is not in the way.
    target.disabled_channels = vec!["inputs".to_owned(), "cursor".to_owned()];
    let (session, _events) = Session::connect(SessionOptions::to(target)).await.expect("connects");
    let channels: Vec<_> =
        session.stats().channels.iter().map(|channel| channel.channel.to_string()).collect();
    assert_eq!(channels, ["main 0", "display 0"]);
    session.shutdown().await;
}

/// An HTTP proxy that makes one tunnel per connection, or answers `refusal`. Sends on what it was asked for.
async fn proxy(refusal: Option<&'static str>) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, asks) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.expect("a request"));
                }
                let head = String::from_utf8(head).expect("text");
                let place = head.split(' ').nth(1).expect("a place").to_owned();
                let _ = asked.send(head);
                if let Some(refusal) = refusal {
                    let _ = client.write_all(refusal.as_bytes()).await;
                    return;
                }
                let mut server = TcpStream::connect(place).await.expect("the server");
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.expect("the client");
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (port, asks)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_channel_goes_through_the_proxy_with_tls_and_without() {
    for has_tls in [true, false] {
        let lab = if has_tls { Lab::new().await } else { Lab::with(Authority::new(), None).await };
        let (port, mut asks) = proxy(None).await;
        let mut target = if has_tls { lab.target() } else { lab.plain_target() };
        target.password = Some("secret".to_owned().into());
        target.proxy = ProxyUrl::parse(&format!("http://me:pass@127.0.0.1:{port}")).ok();
        let (session, _events) = Session::connect(SessionOptions::to(target)).await.expect("connects");
        lab.handle.set_screen(8, 8).unwrap();
        shows(&session, &[0; 8 * 8 * 4]).await;
        session.shutdown().await;
        let mut count = 0;
        while let Ok(head) = asks.try_recv() {
            count += 1;
            let name = if has_tls { "localhost" } else { "127.0.0.1" };
            assert!(head.starts_with(&format!("CONNECT {name}:{} HTTP/1.1\r\n", lab.port())), "{head}");
            assert!(head.contains("\r\nProxy-Authorization: Basic bWU6cGFzcw==\r\n"), "{head}");
        }
        assert_eq!(count, 4, "main, display, inputs and cursor");
    }
}

#[tokio::test]
async fn a_proxy_that_says_no_is_quoted_and_its_password_is_not() {
    for (answer, wanted, hint) in [
        ("HTTP/1.1 407 Who are you\r\n\r\n", "answered \"HTTP/1.1 407 Who are you\"", "USER:PASSWORD"),
        ("HTTP/1.0 403 No\r\n\r\n", "answered \"HTTP/1.0 403 No\"", "allow CONNECT"),
        ("REDQ\x02\0\0\0", "gave no HTTP answer", "an HTTP proxy"),
        ("", "failed: ", "an HTTP proxy"),
    ] {
        let (port, _asks) = proxy(Some(answer)).await;
        let proxy = ProxyUrl::parse(&format!("http://me:hunter2@127.0.0.1:{port}")).ok();
        let plain = Endpoint::Tcp { host: "vm.example".to_owned(), port: 5900 };
        let error = refused(ConnectionTarget { proxy, ..plain.into() }).await;
        assert!(chain(&error).contains(wanted), "{}", chain(&error));
        assert!(error.hint().unwrap().contains(hint), "{error:?}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", source.unwrap_or_default())
}

/// A QEMU whose console is reached through TLS, with what more `-spice` is told, `@P` standing for a plain port. Returns it
/// with the way to it.
async fn theirs(test: &str, more: &str) -> Option<(Somebody, ConnectionTarget)> {
    let platform = host(test).await?;
    let authority = Authority::new();
    let folder = authority.folder("vm", &["localhost"]);
    let (tls_port, port) = (free_port(), free_port());
    let more = more.replace("@P", &format!("port={port}"));
    let spice = format!(
        "addr=127.0.0.1,tls-port={tls_port},x509-dir={},password-secret=ticket{more}",
        folder.path().display()
    );
    let somebody = Somebody::with_rom(&platform, &spice).await;
    let tls = TlsEndpoint {
        host: "localhost".to_owned(),
        port: tls_port,
        ca: Some(authority.pem()),
        ..TlsEndpoint::default()
    };
    let plain = more.contains("port=").then(|| Endpoint::Tcp { host: "localhost".to_owned(), port });
    let password = Some(TICKET.to_owned().into());
    Some((somebody, ConnectionTarget { plain, tls: Some(tls), password, ..ConnectionTarget::default() }))
}

/// Which channels QEMU says are open, and which of them over TLS.
async fn tls_channels(somebody: &Somebody) -> Vec<(String, bool)> {
    let spice = somebody.execute("query-spice").await;
    let kind = |channel: &serde_json::Value| match channel["channel-type"].as_u64() {
        Some(1) => "main",
        Some(2) => "display",
        Some(3) => "inputs",
        Some(4) => "cursor",
        _ => "other",
    };
    let channels = spice["channels"].as_array().expect("channels");
    let mut channels: Vec<_> = channels
        .iter()
        .map(|channel| (kind(channel).to_owned(), channel["tls"].as_bool().expect("tls")))
        .collect();
    channels.sort();
    channels
}

#[tokio::test(flavor = "multi_thread")]
async fn each_channel_of_a_real_server_is_opened_where_the_server_wants_it() {
    for (more, tls) in [
        ("", [true, true, true, true]),
        (",@P", [false, false, false, false]),
        (",@P,tls-channel=inputs", [false, false, true, false]),
        (",@P,tls-channel=main", [false, false, false, true]),
        (",@P,tls-channel=default", [true, true, true, true]),
    ] {
        let Some((somebody, target)) = theirs("TLS with QEMU", more).await else { return };
        let (session, _events) = timeout(PATIENCE, Session::connect(SessionOptions::to(target)))
            .await
            .expect("in time")
            .expect(more);
        let wanted = ["cursor", "display", "inputs", "main"].map(str::to_owned).into_iter().zip(tls);
        assert_eq!(tls_channels(&somebody).await, wanted.collect::<Vec<_>>(), "{more}");
        session.key_down(0x1e).unwrap();
        session.key_up(0x1e).unwrap();
        session.inputs_flushed().await.unwrap();
        let seen = async {
            while session.primary().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, seen).await.expect("a screen");
        session.shutdown().await;
        somebody.assert_left_alone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_is_told_from_an_impostor_and_its_ports_from_each_other() {
    let Some((somebody, target)) = theirs("TLS with QEMU that is not believed", ",@P").await else { return };
    let tls = target.tls.clone().unwrap();
    let only = |tls: TlsEndpoint| ConnectionTarget { tls: Some(tls), plain: None, ..target.clone() };
    let problem = certificate_problem(
        refused(only(TlsEndpoint { ca: Some(Authority::new().pem()), ..tls.clone() })).await,
    );
    assert!(matches!(problem, CertificateProblem::Untrusted { .. }), "{problem}");
    let subject = |text: &str| only(TlsEndpoint { host_subject: Some(text.to_owned()), ..tls.clone() });
    let problem = certificate_problem(refused(subject("O=Us,CN=other")).await);
    assert!(matches!(problem, CertificateProblem::Subject { .. }), "{problem}");
    let options = SessionOptions::to(subject("O=Us,CN=vm"));
    Session::connect(options).await.expect("the subject is the right one").0.shutdown().await;

    let Some(Endpoint::Tcp { host, port }) = target.plain.clone() else { panic!("a plain port") };
    let error = tls_error(refused(only(TlsEndpoint { host: host.clone(), port, ..tls.clone() })).await);
    assert!(matches!(error, TlsError::NotTls | TlsError::Closed), "{error:?}");
    let error = refused(Endpoint::Tcp { host, port: tls.port }.into()).await;
    assert!(
        matches!(error, SessionError::Link { source: LinkError::SpeaksTls | LinkError::Closed { .. }, .. }),
        "{error:?}"
    );
    somebody.assert_left_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_that_wants_sasl_is_named_so() {
    let Some(platform) = host("QEMU with SASL").await else { return };
    let port = free_port();
    let somebody = Somebody::with_rom(&platform, &format!("port={port},addr=127.0.0.1,sasl=on")).await;
    let mut target = ConnectionTarget::from(Endpoint::Tcp { host: "127.0.0.1".to_owned(), port });
    target.username = Some("me".to_owned());
    let error = refused(target).await;
    assert!(matches!(error, SessionError::Link { source: LinkError::SaslRequired, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("sasl=on"));
    somebody.assert_left_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_that_must_be_plain_are_found_there_unless_they_must_be_secure() {
    let more = ",@P,plaintext-channel=display";
    let Some((somebody, target)) = theirs("a plain channel of QEMU", more).await else { return };
    let secure = |channels: &[&str]| ConnectionTarget {
        secure_channels: channels.iter().map(|&channel| channel.to_owned()).collect(),
        ..target.clone()
    };
    let (session, _events) =
        Session::connect(SessionOptions::to(secure(&["main", "inputs"]))).await.expect("connects");
    let wanted = [("cursor", false), ("display", false), ("inputs", true), ("main", true)];
    let wanted = wanted.map(|(channel, tls)| (channel.to_owned(), tls));
    assert_eq!(tls_channels(&somebody).await, wanted);
    session.shutdown().await;
    // Nobody is talked out of TLS who was told to use it.
    let error = refused(secure(&["all"])).await;
    let SessionError::Link { channel, source: LinkError::Refused(code) } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((channel.channel_type, code.0), (ChannelType::DISPLAY, 6));
    somebody.assert_left_alone().await;
}
