//! Section 5: who is there.

use serde_json::{Value, json};

use super::server::Server;
use super::shape::{Kind, Shape};
use super::wire::Talk;

const HELLO: Shape = &[
    ("server_name", Kind::Text),
    ("protocol_version", Kind::Text),
    ("supported_methods", Kind::Texts),
    ("supported_events", Kind::Texts),
];

fn params(version: &str) -> Value {
    json!({ "client_name": "conformance", "protocol_version": version })
}

#[test]
fn before_hello_everything_is_no_hello_yet_and_the_connection_stays() {
    let server = Server::take();
    let mut talk = Talk::connect(server.path());
    for method in ["status", "stats", "screenshot", "subscribe", "unsubscribe", "send_key", "paste"] {
        talk.refused(method, json!({}), "no_hello_yet");
    }
    talk.call("hello", params("1.2"));
    talk.is_served();
}

#[test]
fn before_hello_lines_that_do_not_parse_are_bad_params() {
    let server = Server::take();
    let mut talk = Talk::connect(server.path());
    talk.refused_line(b"garbage", "bad_params");
    talk.refused("status", json!({}), "no_hello_yet");
}

#[test]
fn a_server_says_nothing_before_it_is_asked() {
    let server = Server::take();
    Talk::connect(server.path()).is_silent();
}

#[test]
fn hello_has_all_its_keys_and_names_the_verbs_and_events_of_its_version() {
    let server = Server::take();
    let mut talk = Talk::connect(server.path());
    let hello = talk.call_shaped("hello", params("1.2"), HELLO);
    assert_ne!(hello["server_name"], "");
    let version = server.version;
    assert_eq!(hello["protocol_version"], format!("{}.{}", version.0, version.1), "without zeros in front");
    let since = |minor| version >= (1, minor);
    let methods = [
        (0, ["hello", "status", "send_key", "paste", "screenshot", "subscribe", "unsubscribe"].as_slice()),
        (3, &["clipboard_set", "clipboard_get", "resize"]),
        (4, &["stats"]),
    ];
    for (minor, names) in methods {
        let missing = names.iter().find(|name| since(minor) && !server.has_method(name));
        assert_eq!(missing, None, "supported_methods of {version:?}: {hello}");
    }
    let events = [
        (0, ["latency", "agent_connected", "paste_completed", "paste_failed", "dropped"].as_slice()),
        (1, &["surface_drawn"]),
        (3, &["clipboard_changed"]),
        (5, &["input_rtt"]),
    ];
    for (minor, names) in events {
        let missing = names.iter().find(|name| since(minor) && !server.has_event(name));
        assert_eq!(missing, None, "supported_events of {version:?}: {hello}");
    }
    for key in ["supported_methods", "supported_events"] {
        let names = hello[key].as_array().unwrap();
        let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
        assert_eq!(twice, None, "{key}");
    }
}

#[test]
fn our_hello_names_digests_and_no_features_without_need() {
    let server = Server::take();
    if server.keeps(server.is_ours(), "promise to decode digests") {
        assert!(server.has_event("digest_updated"));
        let hello = Talk::connect(server.path()).call("hello", params("1.2"));
        assert_eq!(hello.get("features"), None, "{hello}");
    }
}

#[test]
fn hello_may_be_repeated_and_answers_the_same() {
    let server = Server::take();
    let mut talk = server.talk();
    let first = talk.call("hello", params("1.2"));
    assert_eq!(talk.call("hello", params("1.2")), first);
    talk.is_served();
}

#[test]
fn a_repeated_hello_keeps_the_subscriptions() {
    let server = Server::take();
    let mut talk = server.talk();
    talk.call("subscribe", json!({ "events": ["latency", "dropped"] }));
    talk.call("hello", params("1.2"));
    let removed = talk.call("unsubscribe", json!({ "events": ["latency", "dropped"] }));
    assert_eq!(removed["unsubscribed"], json!(["latency", "dropped"]));
}

#[test]
fn only_the_major_version_must_match() {
    let server = Server::take();
    let mut talk = Talk::connect(server.path());
    for version in ["1.0", "1.1", "1.2", "1.5", "1.99", "1.4294967295"] {
        let hello = talk.call("hello", params(version));
        let (major, minor) = server.version;
        assert_eq!(hello["protocol_version"], format!("{major}.{minor}"), "the server's own version");
    }
}

#[test]
fn another_major_version_is_refused_and_closed() {
    let server = Server::take();
    for version in ["0.9", "2.0", "2.5", "11.0"] {
        let mut talk = Talk::connect(server.path());
        talk.refused("hello", params(version), "protocol_version_mismatch");
        talk.ends();
    }
    server.talk().is_served();
}

#[test]
fn a_malformed_version_is_bad_params_and_the_connection_stays() {
    let server = Server::take();
    let mut talk = Talk::connect(server.path());
    for version in ["1", "1.0.0", "", ".", "1.", ".5", "one.two", "1,5", "-1.5", "1.99999999999"] {
        talk.refused("hello", params(version), "bad_params");
    }
    talk.refused("status", json!({}), "no_hello_yet");
    talk.call("hello", params("1.2"));
}

#[test]
fn hello_without_one_of_its_parameters_is_bad_params_and_the_connection_stays() {
    let server = Server::take();
    let mut talk = Talk::connect(server.path());
    for wrong in [
        json!({}),
        json!({ "client_name": "conformance" }),
        json!({ "protocol_version": "1.2" }),
        json!({ "client_name": 7, "protocol_version": "1.2" }),
        json!({ "client_name": "conformance", "protocol_version": 1.2 }),
        json!({ "client_name": null, "protocol_version": null }),
    ] {
        talk.refused("hello", wrong, "bad_params");
    }
    talk.refused("status", json!({}), "no_hello_yet");
    talk.call("hello", params("1.2"));
}
