//! Section 6, `subscribe` and `unsubscribe`.

use serde_json::{Value, json};

use super::guest::{Guest, X, press};
use super::server::Server;
use super::shape::{Kind, Shape};
use super::wire::{DEADLINE, Talk};

const SUBSCRIBED: Shape = &[("subscribed", Kind::Texts)];
const UNSUBSCRIBED: Shape = &[("unsubscribed", Kind::Texts)];

fn subscribe(talk: &mut Talk, names: &[&str]) -> Value {
    talk.call_shaped("subscribe", json!({ "events": names }), SUBSCRIBED)["subscribed"].clone()
}

fn unsubscribe(talk: &mut Talk, names: &[&str]) -> Value {
    talk.call_shaped("unsubscribe", json!({ "events": names }), UNSUBSCRIBED)["unsubscribed"].clone()
}

#[test]
fn names_are_confirmed_in_the_order_of_the_request_with_duplicates() {
    let server = Server::take();
    let mut talk = server.talk();
    let names = ["paste_failed", "latency", "paste_failed", "dropped"];
    assert_eq!(subscribe(&mut talk, &names), json!(names));
    assert_eq!(subscribe(&mut talk, &names), json!(names), "also when they are subscribed to already");
}

#[test]
fn unknown_names_are_left_out() {
    let server = Server::take();
    let mut talk = server.talk();
    let names = ["no such", "latency", "", "Latency", "status", "dropped"];
    assert_eq!(subscribe(&mut talk, &names), json!(["latency", "dropped"]));
    assert_eq!(subscribe(&mut talk, &[]), json!([]));
}

#[test]
fn every_event_that_hello_names_can_be_subscribed_to() {
    let server = Server::take();
    let mut talk = server.talk();
    let hello = talk.call("hello", json!({ "client_name": "conformance", "protocol_version": "1.2" }));
    let events = &hello["supported_events"];
    let answer = talk.call("subscribe", json!({ "events": events }));
    assert_eq!(&answer["subscribed"], events);
}

#[test]
fn names_that_were_removed_are_confirmed_once() {
    let server = Server::take();
    let mut talk = server.talk();
    subscribe(&mut talk, &["latency", "latency", "dropped"]);
    let removed = unsubscribe(&mut talk, &["dropped", "latency", "latency", "paste_failed", "no such"]);
    assert_eq!(removed, json!(["dropped", "latency"]));
    assert_eq!(unsubscribe(&mut talk, &["dropped", "latency"]), json!([]));
}

#[test]
fn subscriptions_belong_to_the_connection() {
    let server = Server::take();
    subscribe(&mut server.talk(), &["latency", "surface_drawn"]);
    assert_eq!(unsubscribe(&mut server.talk(), &["latency", "surface_drawn"]), json!([]));
}

#[test]
fn nobody_is_told_of_what_was_not_subscribed_to() {
    let server = Server::take();
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    press(&mut talk, X);
    guest.was_typed(&mut talk, &[('x', 0)]);
    talk.is_silent();
    subscribe(&mut talk, &["paste_failed"]);
    guest.was_typed(&mut talk, &[]);
    talk.is_silent();
}

#[test]
fn what_was_unsubscribed_from_is_not_told_any_more() {
    let server = Server::take();
    if !server.keeps(server.has_event("surface_drawn"), "event surface_drawn") {
        return;
    }
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    subscribe(&mut talk, &["surface_drawn"]);
    guest.was_typed(&mut talk, &[]);
    assert!(talk.event_within("surface_drawn", DEADLINE).is_some(), "nothing was drawn");
    unsubscribe(&mut talk, &["surface_drawn"]);
    // What was on its way when the answer was written may still come; a fresh connection has none of it.
    while talk.event_within("surface_drawn", super::wire::SILENCE).is_some() {}
    guest.was_typed(&mut talk, &[]);
    talk.is_silent();
}
