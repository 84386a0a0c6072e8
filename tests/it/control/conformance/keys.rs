//! Section 6, `send_key`: what the guest is typed.

use serde_json::json;

use super::guest::{Guest, LEFT, LEFT_KEY, X};
use super::server::Server;

#[test]
fn down_and_up_type_a_key_once() {
    let server = Server::take();
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    assert_eq!(talk.call("send_key", json!({ "scancode": X, "state": "down" })), json!({}));
    assert_eq!(talk.call("send_key", json!({ "scancode": X, "state": "up" })), json!({}));
    guest.was_typed(&mut talk, &[('x', 0)]);
}

#[test]
fn an_up_that_has_its_break_bit_already_types_nothing_more() {
    let server = Server::take();
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    talk.call("send_key", json!({ "scancode": X, "state": "down" }));
    talk.call("send_key", json!({ "scancode": X | 0x80, "state": "up" }));
    guest.was_typed(&mut talk, &[('x', 0)]);
}

#[test]
fn press_types_a_key_once() {
    let server = Server::take();
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    assert_eq!(talk.call("send_key", json!({ "scancode": X, "state": "press" })), json!({}));
    guest.was_typed(&mut talk, &[('x', 0)]);
}

#[test]
fn an_extended_key_is_itself() {
    let server = Server::take();
    if !server.keeps(server.version >= (1, 2), "right encoding of extended keys") {
        return;
    }
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    talk.call("send_key", json!({ "scancode": LEFT, "state": "press" }));
    guest.was_typed(&mut talk, &[LEFT_KEY]);
    talk.call("send_key", json!({ "scancode": LEFT, "state": "down" }));
    talk.call("send_key", json!({ "scancode": LEFT | 0x80, "state": "up" }));
    guest.was_typed(&mut talk, &[LEFT_KEY]);
}

#[test]
fn a_modifier_is_held_until_it_goes_up() {
    let server = Server::take();
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    for (code, state) in [(0x2A, "down"), (X, "down"), (X, "up"), (0x2A, "up"), (X, "down"), (X, "up")] {
        talk.call("send_key", json!({ "scancode": code, "state": state }));
    }
    guest.was_typed(&mut talk, &[('X', 0), ('x', 0)]);
}

#[test]
fn keys_of_one_write_arrive_in_order() {
    let server = Server::take();
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    let ids = [X, 0x2E, 0x22].map(|code| talk.ask("send_key", json!({ "scancode": code, "state": "press" })));
    for id in ids {
        assert_eq!(talk.answer()["id"], id);
    }
    guest.was_typed(&mut talk, &[('x', 0), ('c', 0), ('g', 0)]);
}

#[test]
fn another_state_is_bad_state_and_types_nothing() {
    let server = Server::take();
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    for state in ["Down", "release", "", "pressed"] {
        talk.refused("send_key", json!({ "scancode": X, "state": state }), "bad_state");
    }
    guest.was_typed(&mut talk, &[]);
}

#[test]
fn a_scancode_of_more_than_16_bits_is_bad_params_and_types_nothing() {
    let server = Server::take();
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    for scancode in [json!(65_536), json!(-1), json!(45.5), json!("45"), json!(null), json!(1e30)] {
        talk.refused("send_key", json!({ "scancode": scancode, "state": "press" }), "bad_params");
    }
    guest.was_typed(&mut talk, &[]);
}
