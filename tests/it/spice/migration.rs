//! Machines that move to another host while somebody looks at them.

use std::time::Duration;

use backstaff::spice::wire::main::{
    MigrateBegin, MigrateBeginSeamless, MigrateCancel, MigrateEnd, MigrateSwitchHost, MigrationTarget,
};
use backstaff::spice::{CloseReason, MovedTo, Session, SessionError, SessionEvent, SessionOptions};
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::pretender::Pretender;
use crate::lane::somebody::{Somebody, host};

/// Nothing here takes long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

async fn closed(events: &mut UnboundedReceiver<SessionEvent>) -> CloseReason {
    let closed = async {
        loop {
            if let SessionEvent::Closed { reason } = events.recv().await.expect("a last event") {
                return reason;
            }
        }
    };
    timeout(PATIENCE, closed).await.expect("in time")
}

#[tokio::test]
async fn a_session_that_is_sent_away_ends_and_says_where_to() {
    let pretender = Pretender::new();
    let (connected, (mut main, display, inputs)) =
        tokio::join!(Session::connect(pretender.options()), pretender.open_console());
    let (_session, mut events) = connected.expect("connects");
    let target =
        || MigrationTarget { port: 5900, sport: 5901, host: b"west.example\0", cert_subject: b"CN=west\0" };
    // What comes of a migration that takes place without us, or not at all.
    main.send(&MigrateBegin { target: target() }).await;
    assert_eq!(main.receive().await, (103, vec![]), "MIGRATE_CONNECT_ERROR");
    main.send(&MigrateCancel {}).await;
    main.send(&MigrateBeginSeamless { target: target(), src_mig_version: 1 }).await;
    assert_eq!(main.receive().await, (103, vec![]), "MIGRATE_CONNECT_ERROR");
    main.send(&MigrateEnd {}).await;
    // The server neither closes nor says anything more: it is us who go.
    main.send(&MigrateSwitchHost { target: target() }).await;
    let to = MovedTo {
        host: "west.example".to_owned(),
        port: Some(5900),
        tls_port: Some(5901),
        host_subject: Some("CN=west".to_owned()),
    };
    let reason = closed(&mut events).await;
    assert_eq!(reason, CloseReason::Moved(to));
    assert_eq!(reason.to_string(), "the machine was migrated to west.example, port 5900, tls-port 5901");
    display.closed().await;
    inputs.closed().await;
    main.closed().await;
}

#[tokio::test]
async fn being_sent_away_while_connecting_is_the_reason_that_is_given() {
    let pretender = Pretender::new();
    let server = async {
        let mut main = pretender.open().await;
        let target = MigrationTarget { port: 1, sport: 0, host: b"west", cert_subject: b"" };
        main.send(&MigrateSwitchHost { target }).await;
        main.closed().await;
    };
    let (result, ()) = tokio::join!(Session::connect(pretender.options()), server);
    match result.expect_err("no session") {
        SessionError::Ended(CloseReason::Moved(to)) => assert_eq!(to.to_string(), "west, port 1"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_machine_that_migrates_sends_its_client_after_it() {
    let Some(platform) = host("the migration of a machine with a console").await else { return };
    let (folder, port) = (tempfile::tempdir().unwrap(), crate::lane::somebody::free_port());
    let spice = |port: u16| format!("port={port},addr=127.0.0.1,disable-ticketing=on");
    let source_port = crate::lane::somebody::free_port();
    let wire = format!("unix:{}", folder.path().join("wire").display());
    let source = Somebody::with_rom(&platform, &spice(source_port)).await;
    let target = Somebody::with_rom_and(&platform, &spice(port), &["-incoming", &wire]).await;
    let at = |port| backstaff::spice::Endpoint::Tcp { host: "127.0.0.1".to_owned(), port };
    let (session, mut events) =
        Session::connect(SessionOptions::new(at(source_port))).await.expect("connects");
    let to = json!({ "protocol": "spice", "hostname": "127.0.0.1", "port": port });
    source.execute_with("client_migrate_info", to).await;
    source.execute_with("migrate", json!({ "uri": wire })).await;
    let CloseReason::Moved(to) = closed(&mut events).await else { panic!("it was sent away") };
    assert_eq!((&*to.host, to.port, to.tls_port), ("127.0.0.1", Some(port), None));
    session.shutdown().await;
    // And there it is.
    let (there, _events) = Session::connect(SessionOptions::new(at(port))).await.expect("connects there");
    there.shutdown().await;
    target.assert_left_alone().await;
}
