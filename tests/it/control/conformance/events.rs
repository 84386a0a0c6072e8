//! Section 7: what a server tells. The shape of every event is checked wherever one arrives.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::guest::Guest;
use super::server::Server;
use super::shape;
use super::wire::{DEADLINE, SILENCE};

fn now_us() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

#[test]
fn surface_drawn_names_the_surface_and_when() {
    let server = Server::take();
    if !server.keeps(server.has_event("surface_drawn"), "event surface_drawn") {
        return;
    }
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    let began = now_us();
    talk.call("subscribe", json!({ "events": ["surface_drawn"] }));
    guest.was_typed(&mut talk, &[]);
    let mut produced = 0.0;
    // Eight dots and a prompt.
    for _ in 0..9 {
        let drawn = talk.event("surface_drawn");
        assert_eq!((&drawn["display_channel_id"], &drawn["surface_id"]), (&json!(0), &json!(0)));
        // A second for clocks that are set.
        let at = drawn["wallclock_us"].as_u64().unwrap();
        assert!(at + 1_000_000 > began && at < now_us() + 1_000_000, "microseconds since 1970: {at}");
        let seconds = drawn["produced_at_secs"].as_f64().unwrap();
        assert!(seconds >= produced, "{seconds} s comes after {produced} s");
        produced = seconds;
    }
    assert!(produced > 0.0, "seconds since the session began");
}

#[test]
fn digest_updated_has_rising_counters_and_records_of_one_key() {
    let server = Server::take();
    if !server.keeps(server.has_event("digest_updated"), "event digest_updated") {
        return;
    }
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    talk.call("subscribe", json!({ "events": ["digest_updated"] }));
    guest.was_typed(&mut talk, &[]);
    guest.was_typed(&mut talk, &[]);
    let (mut counter, mut hashes, mut names) = (0, Vec::new(), Vec::new());
    while let Some(digest) = talk.event_within("digest_updated", SILENCE) {
        let next = digest["frame_counter"].as_u64().unwrap();
        assert!(next > counter, "{next} comes after {counter}");
        counter = next;
        hashes.push(digest["framebuffer_hash"].clone());
        for record in digest["events"].as_array().unwrap() {
            let keys: Vec<&String> = record.as_object().unwrap().keys().collect();
            let [name] = *keys else { panic!("a record has one key: {record}") };
            if let Some(shape) = shape::of_record(name) {
                assert_eq!(shape::mismatch(&record[name], shape), None, "{record}");
            }
            names.push(name.clone());
        }
    }
    assert!(counter > 0, "no digest was told of");
    for name in ["bootloader_decision", "line_rendered"] {
        assert!(names.iter().any(|found| found == name), "{name} is missing: {names:?}");
    }
    assert!(hashes.iter().any(|hash| hash != &hashes[0]), "the screen changed, its hash did not");
}

#[test]
fn our_digests_are_told_as_they_are_drawn_and_none_is_left_out() {
    let server = Server::take();
    if !server.keeps(server.is_ours(), "promise to see every digest") {
        return;
    }
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    talk.call("subscribe", json!({ "events": ["digest_updated"] }));
    guest.was_typed(&mut talk, &[]);
    let mut counters = Vec::new();
    while let Some(digest) = talk.event_within("digest_updated", SILENCE) {
        counters.push(digest["frame_counter"].as_u64().unwrap());
    }
    // Eight dots and the prompt.
    assert!(counters.len() >= 9, "{counters:?}");
    assert!(counters.windows(2).all(|pair| pair[1] == pair[0] + 1), "{counters:?}");
}

#[test]
fn the_same_digest_is_not_told_twice() {
    let server = Server::take();
    if !server.keeps(server.has_event("digest_updated"), "event digest_updated") {
        return;
    }
    let mut talk = server.talk();
    let _ = Guest::at_prompt(&mut talk);
    talk.call("subscribe", json!({ "events": ["digest_updated"] }));
    while talk.event_within("digest_updated", SILENCE).is_some() {}
    talk.call("screenshot", json!({}));
    talk.is_silent();
}

#[test]
fn latency_is_told_with_its_shape() {
    let server = Server::take();
    let mut talk = server.talk();
    talk.call("subscribe", json!({ "events": ["latency", "input_rtt"] }));
    // Many SPICE servers never ping after the beginning; what comes was checked on arrival.
    let sample = talk.event_within("latency", 4 * SILENCE);
    if server.keeps(sample.is_some(), "PINGs at the moment") {
        assert!(sample.unwrap()["sample_ms"].as_f64().unwrap() >= 0.0);
    }
}

#[test]
fn events_come_between_other_lines_and_whole() {
    let server = Server::take();
    if !server.keeps(server.has_event("surface_drawn"), "event surface_drawn") {
        return;
    }
    let mut talk = server.talk();
    let mut guest = Guest::at_prompt(&mut talk);
    talk.call("subscribe", json!({ "events": ["surface_drawn", "digest_updated"] }));
    // Screenshots of megabytes are asked for while the guest draws.
    guest.was_typed(&mut talk, &[]);
    let ids: Vec<Value> = (0..10).map(|_| talk.ask("screenshot", json!({ "format": "rgba" }))).collect();
    let answered: Vec<Value> = ids.iter().map(|_| talk.answer()["id"].clone()).collect();
    assert_eq!(answered, ids);
    assert!(talk.event_within("surface_drawn", DEADLINE).is_some());
}
