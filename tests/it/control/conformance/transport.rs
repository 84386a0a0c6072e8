//! Section 2, and the end of section 5: the path, and one client at a time.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use super::server::Server;
use super::wire::Talk;

#[test]
fn the_path_is_a_socket_for_its_owner_alone() {
    let server = Server::take();
    let metadata = std::fs::metadata(server.path()).unwrap();
    assert!(metadata.file_type().is_socket(), "{metadata:?}");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_second_client_is_told_busy_unprompted_and_closed_and_the_first_is_unaffected() {
    let server = Server::take();
    if !server.keeps(!server.is_multi(), "limit of one client") {
        return;
    }
    let mut first = server.talk();
    for _ in 0..3 {
        let mut second = Talk::connect_once(server.path());
        second.answers_with(&serde_json::Value::Null, "busy", "a second connection");
        second.ends();
        first.is_served();
    }
    first.is_silent();
}

#[test]
fn a_second_client_is_refused_also_while_the_first_has_not_said_hello() {
    let server = Server::take();
    if !server.keeps(!server.is_multi(), "limit of one client") {
        return;
    }
    let mut first = Talk::connect(server.path());
    let mut second = Talk::connect_once(server.path());
    second.answers_with(&serde_json::Value::Null, "busy", "a second connection");
    second.ends();
    first.refused("status", serde_json::json!({}), "no_hello_yet");
}

#[test]
fn a_client_that_goes_makes_room_for_the_next() {
    let server = Server::take();
    for _ in 0..5 {
        server.talk().is_served();
    }
}

#[test]
fn half_a_line_followed_by_silence_harms_nobody() {
    let server = Server::take();
    let mut talk = server.talk();
    talk.send_bytes(br#"{"id":7,"method":"sta"#);
    talk.is_silent();
    talk.send_bytes(b"tus\",\"params\":{}}\n");
    assert_eq!(talk.answer()["id"], 7);
    talk.send_bytes(br#"{"id":8,"method":"status","params":{}}"#);
    talk.is_silent();
    drop(talk);
    server.talk().is_served();
}

#[test]
fn a_client_that_goes_without_reading_its_answers_harms_nobody() {
    let server = Server::take();
    let mut talk = server.talk();
    for id in 0..20 {
        talk.send(&format!(r#"{{"id":{id},"method":"screenshot","params":{{"format":"rgba"}}}}"#));
    }
    drop(talk);
    server.talk().is_served();
}
