//! How opening a session goes, and all the ways in which it does not.

use std::time::{Duration, Instant};

use backstaff::spice::wire::header::mini_frame;
use backstaff::spice::wire::link::{LinkCode, MAGIC};
use backstaff::spice::wire::main::ChannelsList;
use backstaff::spice::{ChannelId, CloseReason, LinkError, Session, SessionError, SessionEvent};

use super::pretender::{DISPLAY, INPUTS, Pretender, SESSION_ID, reply};

/// Connects while `server` plays, and returns the error.
async fn refused(pretender: &Pretender, server: impl Future<Output = ()>) -> SessionError {
    refused_with(pretender, |_| {}, server).await
}

async fn refused_with(
    pretender: &Pretender,
    change: impl FnOnce(&mut backstaff::spice::SessionOptions),
    server: impl Future<Output = ()>,
) -> SessionError {
    let mut options = pretender.options();
    change(&mut options);
    let (result, ()) = tokio::join!(Session::connect(options), server);
    result.expect_err("no session")
}

fn link_error(error: SessionError) -> LinkError {
    match error {
        SessionError::Link { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_opens_main_then_the_rest_with_its_id() {
    let pretender = Pretender::new();
    let (connected, _server) = tokio::join!(Session::connect(pretender.options()), pretender.open_console());
    let (_session, mut events) = connected.expect("connects");
    let channels = vec![ChannelId::MAIN, DISPLAY, INPUTS];
    let wanted = SessionEvent::Connected { session_id: SESSION_ID, channels };
    while events.recv().await.expect("a Connected event") != wanted {}
}

#[tokio::test]
async fn the_ticket_is_the_password_and_a_nul() {
    for (password, ticket) in [(Some("secret"), &b"secret\0"[..]), (None, b"\0")] {
        let pretender = Pretender::new();
        let server = async {
            let mut main = pretender.accept().await;
            main.write(&reply().encode()).await;
            assert_eq!(main.ticket().await, ticket);
            main.result(LinkCode::PERMISSION_DENIED).await;
        };
        let set_password = |options: &mut backstaff::spice::SessionOptions| {
            options.password = password.map(|password| password.to_owned().into());
            assert!(!format!("{options:?}").contains("secret"), "passwords do not print");
        };
        let error = refused_with(&pretender, set_password, server).await;
        assert!(matches!(link_error(error), LinkError::Refused(LinkCode::PERMISSION_DENIED)));
    }
}

#[tokio::test]
async fn a_password_no_server_takes_is_not_sent() {
    for (password, message) in [
        ("x".repeat(61), "password of 61 bytes, servers take 60"),
        ("a\0b".to_owned(), "password with a NUL in it"),
    ] {
        let pretender = Pretender::new();
        let server = async {
            let mut main = pretender.accept().await;
            main.write(&reply().encode()).await;
            main.closed().await;
        };
        let error =
            refused_with(&pretender, |options| options.password = Some(password.into()), server).await;
        let LinkError::Ticket(error) = link_error(error) else { panic!("not a ticket error") };
        assert_eq!(error.to_string(), message);
    }
}

#[tokio::test]
async fn a_server_that_closes_without_a_word_is_named_so() {
    let pretender = Pretender::new();
    let error = refused(&pretender, async { drop(pretender.accept().await) }).await;
    assert_eq!(error.to_string(), "open main 0");
    assert!(error.hint().is_some());
    assert!(matches!(link_error(error), LinkError::Closed { step: "link reply" }));
}

#[tokio::test]
async fn a_silent_server_costs_the_handshake_timeout_and_no_more() {
    let pretender = Pretender::new();
    let after = Duration::from_millis(50);
    let start = Instant::now();
    let mut options = pretender.options();
    options.handshake_timeout = after;
    let error = Session::connect(options).await.expect_err("silence");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(
        matches!(link_error(error), LinkError::Timeout { step: "link reply", after: got } if got == after)
    );
}

#[tokio::test]
async fn a_main_channel_that_says_nothing_is_a_silent_one() {
    let pretender = Pretender::new();
    let server = async { pretender.open().await.closed().await };
    let brief = |options: &mut backstaff::spice::SessionOptions| {
        options.handshake_timeout = Duration::from_millis(300)
    };
    let error = refused_with(&pretender, brief, server).await;
    assert_eq!(error.to_string(), "main channel: no INIT within 300ms");
}

#[tokio::test]
async fn a_reply_of_one_byte_now_and_then_is_silence() {
    let pretender = Pretender::new();
    let server = async {
        let mut connection = pretender.accept().await;
        for byte in reply().encode() {
            if !connection.try_write(&[byte]).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let brief = |options: &mut backstaff::spice::SessionOptions| {
        options.handshake_timeout = Duration::from_millis(500)
    };
    let error = refused_with(&pretender, brief, server).await;
    assert!(matches!(link_error(error), LinkError::Timeout { step: "link reply", .. }));
}

#[tokio::test]
async fn a_main_channel_that_talks_of_other_things_is_a_silent_one() {
    let pretender = Pretender::new();
    let server = async {
        let mut main = pretender.open().await;
        let list = mini_frame(&ChannelsList { channels: Vec::new() });
        while main.try_write(&list).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let brief = |options: &mut backstaff::spice::SessionOptions| {
        options.handshake_timeout = Duration::from_millis(300)
    };
    let error = refused_with(&pretender, brief, server).await;
    assert_eq!(error.to_string(), "main channel: no INIT within 300ms");
}

#[tokio::test]
async fn a_main_channel_that_dies_early_ends_the_connect() {
    let pretender = Pretender::new();
    let error = refused(&pretender, async { drop(pretender.open().await) }).await;
    assert!(matches!(error, SessionError::Ended(CloseReason::ServerClosed)), "{error:?}");
}

#[tokio::test]
async fn refusals_come_with_what_to_do() {
    for (code, hint) in [
        (
            LinkCode::NEED_SECURED,
            "name the server's TLS port as well, or allow the channel on the plain one (QEMU: plaintext-channel)",
        ),
        (LinkCode::BAD_CONNECTION_ID, "another client has taken over the session"),
    ] {
        let pretender = Pretender::new();
        let server = async {
            let mut main = pretender.accept().await;
            let mut refusal = reply();
            refusal.error = code;
            main.write(&refusal.encode()).await;
        };
        let error = refused(&pretender, server).await;
        assert_eq!(error.hint(), Some(hint));
        assert!(matches!(link_error(error), LinkError::Refused(got) if got == code));
    }
}

#[tokio::test]
async fn servers_that_want_something_else_are_named() {
    for word in [0b1101, 0b0011] {
        let pretender = Pretender::new();
        let server = async {
            let mut main = pretender.accept().await;
            let mut other = reply();
            other.common.0[0] = word;
            main.write(&other.encode()).await;
        };
        match (word, link_error(refused(&pretender, server).await)) {
            (0b1101, LinkError::SaslRequired) | (0b0011, LinkError::NoMiniHeader) => {}
            (word, error) => panic!("{word:#b}: {error:?}"),
        }
    }
    let pretender = Pretender::new();
    let server = async { pretender.accept_to_ticket().await.result(LinkCode(MAGIC)).await };
    assert!(matches!(link_error(refused(&pretender, server).await), LinkError::MechanismRejected));
}

#[tokio::test]
async fn a_server_that_takes_no_tickets_says_so_with_the_remedy() {
    let pretender = Pretender::new();
    let server = async {
        let mut main = pretender.accept().await;
        let mut sasl = reply();
        sasl.common.0[0] = 0b1101;
        sasl.public_key = [0; 162];
        main.write(&sasl.encode()).await;
        main.closed().await;
    };
    let with_ticket =
        |options: &mut backstaff::spice::SessionOptions| options.password = Some("hunter2".to_owned().into());
    let error = refused_with(&pretender, with_ticket, server).await;
    assert!(error.hint().unwrap().contains("QEMU without `sasl=on`"), "{error:?}");
    assert_eq!(link_error(error).to_string(), "the server wants SASL, which is not spoken here");
}

#[tokio::test]
async fn what_is_not_spice_is_malformed() {
    let pretender = Pretender::new();
    let server = async { pretender.accept().await.write(b"HTTP/1.1 400 Bad Request\r\n\r\n").await };
    let error = link_error(refused(&pretender, server).await);
    assert!(matches!(error, LinkError::Malformed { step: "link reply", .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    let pretender = Pretender::new();
    let options = pretender.options();
    let path = pretender.path();
    drop(pretender);
    let error = Session::connect(options).await.expect_err("nobody there");
    assert_eq!(error.to_string(), format!("open main 0: connect to {}", path.display()));
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn one_refused_channel_fails_the_connect_and_closes_the_others() {
    let pretender = Pretender::new();
    let server = async {
        let main = pretender.open_main(&[DISPLAY, INPUTS]).await;
        let (first, second) = (pretender.accept_to_ticket().await, pretender.accept_to_ticket().await);
        let (mut display, mut inputs) =
            if first.mess.channel == DISPLAY { (first, second) } else { (second, first) };
        inputs.result(LinkCode::PERMISSION_DENIED).await;
        display.result(LinkCode::OK).await;
        assert_eq!(display.receive().await.0, 101, "INIT comes whatever becomes of the session");
        drop(display);
        main.closed().await;
    };
    let error = refused(&pretender, server).await;
    assert!(matches!(error, SessionError::Link { channel: INPUTS, .. }), "{error:?}");
}

/// Servers die of display channels that are closed before INIT.
#[tokio::test]
async fn a_connect_that_is_dropped_still_sends_init_and_closes_main_last() {
    let pretender = Pretender::new();
    let connect = tokio::spawn(Session::connect(pretender.options()));
    let main = pretender.open_main(&[DISPLAY]).await;
    let mut display = pretender.accept_to_ticket().await;
    connect.abort();
    assert!(connect.await.expect_err("aborted").is_cancelled());
    display.result(LinkCode::OK).await;
    let (kind, init) = display.receive().await;
    assert_eq!((kind, init.len()), (101, 14), "INIT");
    display.send(&backstaff::spice::wire::base::SetAck { generation: 1, window: 20 }).await;
    assert_eq!(display.receive().await.0, 1, "ACK_SYNC");
    display.send(&backstaff::spice::wire::display::InvalAllPalettes {}).await;
    display.closed().await;
    main.closed().await;
}

/// The result may be on its way when this side gives up.
#[tokio::test]
async fn a_display_whose_result_is_late_gets_init_nevertheless() {
    let pretender = Pretender::new();
    let server = async {
        let _main = pretender.open_main(&[DISPLAY]).await;
        let mut display = pretender.accept_to_ticket().await;
        assert_eq!(display.receive().await.0, 101, "INIT");
        display.closed().await;
    };
    let brief = |options: &mut backstaff::spice::SessionOptions| {
        options.handshake_timeout = Duration::from_millis(300)
    };
    let error = link_error(refused_with(&pretender, brief, server).await);
    assert!(matches!(error, LinkError::Timeout { step: "link result", .. }), "{error:?}");
}
