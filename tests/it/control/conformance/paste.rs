//! Section 6, `paste`: the answer at once, the outcome later.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::guest::{Guest, Key};
use super::server::Server;
use super::wire::{DEADLINE, SILENCE, Talk};

fn told(server: &Server) -> Talk {
    let mut talk = server.talk();
    talk.call("subscribe", json!({ "events": ["paste_completed", "paste_failed"] }));
    talk
}

/// Pastes and returns how many keys were typed.
#[track_caller]
fn typed(talk: &mut Talk, text: &str, char_delay_ms: impl Into<Value>) -> u64 {
    let id = talk.ask("paste", json!({ "text": text, "char_delay_ms": char_delay_ms.into() }));
    let answer = talk.answer();
    assert_eq!((&answer["id"], &answer["result"]), (&id, &json!({})), "the answer to paste");
    let done = talk.event("paste_completed");
    assert_eq!(done["request_id"], id, "{done}");
    done["chars_sent"].as_u64().unwrap()
}

#[test]
fn a_paste_is_typed_and_its_end_told_with_the_requests_id() {
    let server = Server::take();
    let mut talk = told(&server);
    let mut guest = Guest::at_prompt(&mut talk);
    assert_eq!(typed(&mut talk, "xZ", 20), 2);
    guest.was_typed(&mut talk, &[('x', 0), ('Z', 0)]);
}

#[test]
fn a_string_id_comes_back_as_a_string() {
    let server = Server::take();
    let mut talk = told(&server);
    for id in ["seven", "7", ""] {
        let paste = json!({ "id": id, "method": "paste", "params": { "text": "x", "char_delay_ms": 1 } });
        talk.send(&paste.to_string());
        assert_eq!(talk.answer()["id"], id);
        let done = talk.event("paste_completed");
        assert_eq!((&done["request_id"], &done["chars_sent"]), (&json!(id), &json!(1)));
    }
}

#[test]
fn the_answer_comes_before_the_outcome_and_at_once() {
    let server = Server::take();
    let mut talk = told(&server);
    let began = Instant::now();
    let id = talk.ask("paste", json!({ "text": "xxxxxxxxxx", "char_delay_ms": 300 }));
    let answer = talk.line(DEADLINE);
    assert_eq!((&answer["id"], &answer["ok"]), (&id, &json!(true)), "the first line after the request");
    assert!(began.elapsed() < Duration::from_millis(2_500), "it came after {:?}", began.elapsed());
    assert_eq!(talk.event("paste_completed")["request_id"], id);
    assert!(began.elapsed() >= Duration::from_secs(2), "ten characters at 300 ms took {:?}", began.elapsed());
}

#[test]
fn other_requests_are_served_while_a_paste_is_typed() {
    let server = Server::take();
    let mut talk = told(&server);
    let id = talk.ask("paste", json!({ "text": "xxxxxxxxxx", "char_delay_ms": 200 }));
    assert_eq!(talk.answer()["ok"], true);
    for _ in 0..3 {
        talk.is_served();
    }
    talk.call("screenshot", json!({}));
    assert_eq!(talk.event("paste_completed")["request_id"], id);
}

#[test]
fn ten_milliseconds_are_the_default_of_a_character() {
    let server = Server::take();
    let mut talk = told(&server);
    for params in
        [json!({ "text": "x".repeat(100) }), json!({ "text": "x".repeat(100), "char_delay_ms": null })]
    {
        let began = Instant::now();
        talk.call("paste", params);
        assert_eq!(talk.event("paste_completed")["chars_sent"], 100);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(900), "a hundred characters took {took:?}");
        assert!(took < Duration::from_secs(30), "a hundred characters took {took:?}");
    }
}

#[test]
fn line_ends_of_two_characters_are_one_key() {
    let server = Server::take();
    let mut talk = told(&server);
    let mut guest = Guest::at_prompt(&mut talk);
    assert_eq!(typed(&mut talk, "\r\n", 20), 1);
    guest.was_typed(&mut talk, &[('\r', 0)]);
    assert_eq!(typed(&mut talk, "\r", 20), 1);
    guest.was_typed(&mut talk, &[('\r', 0)]);
    assert_eq!(typed(&mut talk, "\n\r", 20), 2);
    guest.was_typed(&mut talk, &[('\r', 0), ('\r', 0)]);
}

#[test]
fn every_mark_and_digit_is_typed_as_itself() {
    let server = Server::take();
    let mut talk = told(&server);
    let mut guest = Guest::at_prompt(&mut talk);
    // Of the letters two will do; some would answer the prompt.
    let text = ('\x20'..='\x7e').filter(|c| !c.is_ascii_alphabetic()).chain("\tqZ".chars());
    for three in text.collect::<Vec<char>>().chunks(3) {
        let keys: Vec<Key> = three.iter().map(|character| (*character, 0)).collect();
        assert_eq!(typed(&mut talk, &three.iter().collect::<String>(), 20), three.len() as u64);
        guest.was_typed(&mut talk, &keys);
    }
}

#[test]
fn an_empty_text_completes_with_nothing() {
    let server = Server::take();
    let mut talk = told(&server);
    let mut guest = Guest::at_prompt(&mut talk);
    assert_eq!(typed(&mut talk, "", Value::Null), 0);
    guest.was_typed(&mut talk, &[]);
}

#[test]
fn a_text_that_cannot_be_typed_fails_with_what_is_wrong_and_nothing_is_typed() {
    let server = Server::take();
    let mut talk = told(&server);
    let mut guest = Guest::at_prompt(&mut talk);
    for (text, wanted) in [
        ("xé•éx", &["2 ", "U+00E9", "U+2022"][..]),
        ("\u{1F600}", &["1 ", "U+1F600"]),
        ("äöüß", &["4 ", "U+00E4", "U+00F6", "U+00FC"]),
        ("x\u{0}", &["1 ", "U+0000"]),
        ("\u{1b}", &["1 ", "U+001B"]),
        ("\u{7f}", &["1 ", "U+007F"]),
    ] {
        let id = talk.ask("paste", json!({ "text": text }));
        assert_eq!(talk.answer()["ok"], true, "the answer to paste");
        let failed = talk.event("paste_failed");
        assert_eq!(failed["request_id"], id);
        let reason = failed["reason"].as_str().unwrap();
        for part in wanted {
            assert!(reason.contains(part), "{part:?} is missing: {reason}");
        }
        assert!(reason.matches("U+").count() <= 3, "at most three are named: {reason}");
    }
    guest.was_typed(&mut talk, &[]);
}

#[test]
fn a_text_of_more_than_4096_characters_is_cut() {
    let server = Server::take();
    let mut talk = told(&server);
    // Firmware does not keep up, which is not the server's to see.
    assert_eq!(typed(&mut talk, &"x".repeat(5_000), 0), 4_096);
    // What firmware did keep is typed before the next rule types anything.
    let _ = Guest::at_prompt(&mut talk);
}

#[test]
fn a_paste_ends_with_its_client_and_the_next_one_can_paste() {
    let server = Server::take();
    let mut talk = told(&server);
    let mut guest = Guest::at_prompt(&mut talk);
    talk.call("paste", json!({ "text": "x".repeat(60), "char_delay_ms": 1_000 }));
    drop(talk);
    let mut talk = told(&server);
    // It would still be typed for a minute. Its first keys were, more of them on a slow day.
    let patience = if server.is_ours() { 1 } else { 10 };
    let is_pasted = (0..patience).any(|_| {
        // Some servers lose what is pasted while they tidy up, and tell the wrong client.
        let id = talk.ask("paste", json!({ "text": "c", "char_delay_ms": 20 }));
        assert_eq!(talk.answer()["ok"], true);
        let done = talk.event_within("paste_completed", 5 * SILENCE);
        done.is_some_and(|done| done["request_id"] == id)
    });
    assert!(is_pasted, "the next client cannot paste");
    let some = |count| std::iter::repeat_n(('x', 0), count).chain([('c', 0)]).collect();
    guest.was_typed_one_of(&mut talk, &(0..4).map(some).collect::<Vec<Vec<Key>>>());
    std::thread::sleep(2 * SILENCE);
    guest.was_typed(&mut talk, &[]);
}

#[test]
fn outcomes_are_told_to_subscribers_only() {
    let server = Server::take();
    let mut talk = server.talk();
    talk.call("paste", json!({ "text": "x", "char_delay_ms": 1 }));
    talk.call("paste", json!({ "text": "é" }));
    talk.is_silent();
}

#[test]
fn nobody_is_told_of_another_clients_paste() {
    let server = Server::take();
    if !server.keeps(server.is_ours(), "promise to keep outcomes to the client") {
        return;
    }
    let mut talk = told(&server);
    talk.call("paste", json!({ "text": "xxxxx", "char_delay_ms": 1_000 }));
    drop(talk);
    told(&server).is_silent();
}
