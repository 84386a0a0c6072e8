//! Sections 3 and 4: lines, and what is around requests and answers.

use serde_json::{Value, json};

use super::server::Server;

fn status(id: impl std::fmt::Display) -> String {
    format!(r#"{{"id":{id},"method":"status","params":{{}}}}"#)
}

#[test]
fn ids_are_echoed_as_they_came() {
    let server = Server::take();
    let mut talk = server.talk();
    let ids = [
        "0",
        "7",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        r#""""#,
        r#""7""#,
        r#""a \" \u00e9 \n""#,
    ];
    for id in ids {
        talk.send(&status(id));
        let wanted: Value = serde_json::from_str(id).unwrap();
        assert_eq!(talk.answer()["id"], wanted, "{id}");
    }
}

#[test]
fn a_refusal_echoes_the_id_too() {
    let server = Server::take();
    let mut talk = server.talk();
    for id in [json!(-5), json!("five"), json!("")] {
        talk.send(&json!({ "id": id, "method": "no such", "params": {} }).to_string());
        talk.answers_with(&id, "unknown_method", "an unknown method");
    }
}

#[test]
fn an_id_that_is_no_integer_or_string_is_bad_params_without_an_id() {
    let server = Server::take();
    let mut talk = server.talk();
    for id in ["null", "1.5", "1.0", "true", "[]", "{}", "9223372036854775808"] {
        talk.refused_line(status(id).as_bytes(), "bad_params");
    }
    talk.is_served();
}

#[test]
fn a_request_without_one_of_its_keys_is_bad_params_without_an_id() {
    let server = Server::take();
    let mut talk = server.talk();
    for line in [
        r#"{"method":"status","params":{}}"#,
        r#"{"id":1,"params":{}}"#,
        r#"{"id":1,"method":"status"}"#,
        "{}",
    ] {
        talk.refused_line(line.as_bytes(), "bad_params");
    }
    talk.is_served();
}

#[test]
fn a_line_that_is_no_object_is_bad_params_without_an_id() {
    let server = Server::take();
    let mut talk = server.talk();
    for line in
        ["garbage", "{", "[]", "7", "\"status\"", "null", "GET / HTTP/1.1", "{\"id\":1,}", "\u{feff}{}"]
    {
        talk.refused_line(line.as_bytes(), "bad_params");
    }
    talk.is_served();
}

#[test]
fn deeply_nested_input_is_refused() {
    let server = Server::take();
    let mut talk = server.talk();
    let line = format!(r#"{{"id":1,"method":"status","params":{}"#, "[".repeat(100_000));
    talk.refused_line(line.as_bytes(), "bad_params");
    talk.is_served();
}

#[test]
fn a_method_that_is_no_string_is_bad_params_without_an_id() {
    let server = Server::take();
    let mut talk = server.talk();
    talk.refused_line(br#"{"id":1,"method":7,"params":{}}"#, "bad_params");
    talk.is_served();
}

#[test]
fn bytes_that_are_not_utf8_are_bad_params_without_an_id_and_the_connection_stays() {
    let server = Server::take();
    if !server.keeps(server.version >= (1, 3), "word about bytes that are not UTF-8") {
        return;
    }
    let mut talk = server.talk();
    talk.refused_line(b"\xff\xfe", "bad_params");
    talk.refused_line(b"{\"id\":1,\"method\":\"status\",\"params\":{\"\xc3\x28\":1}}", "bad_params");
    talk.is_served();
}

#[test]
fn blank_lines_are_passed_over() {
    let server = Server::take();
    let mut talk = server.talk();
    talk.send_bytes(b"\n\n\r\n  \n");
    talk.send(&status(1));
    assert_eq!(talk.answer()["id"], 1);
    talk.is_silent();
}

#[test]
fn a_carriage_return_before_the_line_end_is_dropped() {
    let server = Server::take();
    let mut talk = server.talk();
    talk.send_bytes(format!("{}\r\n", status(1)).as_bytes());
    assert_eq!(talk.answer()["ok"], true);
}

#[test]
fn a_line_may_come_in_many_small_writes() {
    let server = Server::take();
    let mut talk = server.talk();
    for byte in format!("{}\n", status(r#""é€𝄞""#)).bytes() {
        talk.send_bytes(&[byte]);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert_eq!(talk.answer()["id"], "é€𝄞");
}

#[test]
fn several_requests_in_one_write_are_answered_in_order() {
    let server = Server::take();
    let mut talk = server.talk();
    let lines: String = (0..50)
        .map(|id| match id % 5 {
            0 => format!("{{\"id\":{id},\"method\":\"no such\",\"params\":{{}}}}\n"),
            1 => format!("{{\"id\":{id},\"method\":\"screenshot\",\"params\":{{}}}}\n"),
            _ => format!("{}\n", status(id)),
        })
        .collect();
    talk.send_bytes(lines.as_bytes());
    let answered: Vec<Value> = (0..50).map(|_| talk.answer()["id"].clone()).collect();
    assert_eq!(answered, (0..50).map(Value::from).collect::<Vec<_>>());
}

#[test]
fn an_unknown_method_is_refused_and_the_connection_stays() {
    let server = Server::take();
    let mut talk = server.talk();
    for method in ["no such", "", "Status", "statu", "send-key", "\u{0}"] {
        talk.refused(method, json!({}), "unknown_method");
    }
    talk.is_served();
}

#[test]
fn parameters_that_are_no_object_are_bad_params_where_there_are_any() {
    let server = Server::take();
    let mut talk = server.talk();
    for params in [json!(null), json!([]), json!(1), json!("x"), json!(true)] {
        for method in ["hello", "send_key", "paste", "subscribe", "unsubscribe"] {
            talk.refused(method, params.clone(), "bad_params");
        }
    }
    talk.is_served();
}

#[test]
fn parameters_that_are_no_object_are_bad_params_everywhere() {
    let server = Server::take();
    if !server.keeps(server.is_ours(), "eye for parameters that it has no use for") {
        return;
    }
    let mut talk = server.talk();
    for params in [json!(null), json!([]), json!(1), json!("x"), json!(true)] {
        for method in ["status", "screenshot", "clipboard_get", "clipboard_set", "resize", "stats"] {
            talk.refused(method, params.clone(), "bad_params");
        }
    }
    talk.is_served();
}

#[test]
fn parameters_of_another_type_are_bad_params_and_the_connection_stays() {
    let server = Server::take();
    let mut talk = server.talk();
    for (method, params) in [
        ("send_key", json!({ "scancode": "30", "state": "up" })),
        ("send_key", json!({ "scancode": 30.5, "state": "up" })),
        ("send_key", json!({ "scancode": 30 })),
        ("send_key", json!({ "state": "up" })),
        ("send_key", json!({ "scancode": 30, "state": 1 })),
        ("paste", json!({})),
        ("paste", json!({ "text": null })),
        ("paste", json!({ "text": 7 })),
        ("paste", json!({ "text": "x", "char_delay_ms": -1 })),
        ("paste", json!({ "text": "x", "char_delay_ms": "1" })),
        ("paste", json!({ "text": "x", "char_delay_ms": 4_294_967_296_u64 })),
        ("screenshot", json!({ "surface_id": "0" })),
        ("screenshot", json!({ "surface_id": -1 })),
        ("screenshot", json!({ "surface_id": 4_294_967_296_u64 })),
        ("screenshot", json!({ "format": 7 })),
        ("subscribe", json!({})),
        ("subscribe", json!({ "events": "latency" })),
        ("subscribe", json!({ "events": [7] })),
        ("unsubscribe", json!({})),
        ("unsubscribe", json!({ "events": null })),
    ] {
        talk.refused(method, params, "bad_params");
    }
    talk.is_served();
}

#[test]
fn keys_that_the_protocol_does_not_have_are_passed_over() {
    let server = Server::take();
    let mut talk = server.talk();
    talk.send(r#"{"jsonrpc":"2.0","params":{"verbose":true},"id":1,"method":"status"}"#);
    assert_eq!(talk.answer()["ok"], true);
}

#[test]
fn a_line_without_end_is_refused_or_cut_off_and_the_next_client_is_served() {
    let server = Server::take();
    let mut talk = server.talk();
    // Ours keep a line of a MiB; others of hundreds, so the line does end, but it is no request for anybody.
    talk.send_bytes(&vec![b'x'; 3 << 20]);
    talk.send_bytes(b"\n");
    if let Some(line) = talk.try_line(super::wire::DEADLINE) {
        assert_eq!((&line["id"], &line["error"]["code"]), (&Value::Null, &json!("bad_params")), "{line}");
    } else {
        assert!(talk.has_ended(), "neither an answer nor an end");
    }
    if server.is_ours() {
        talk.ends();
    }
    drop(talk);
    server.talk().is_served();
}

#[test]
fn a_request_of_nearly_a_mebibyte_is_served() {
    let server = Server::take();
    let mut talk = server.talk();
    let line = format!(r#"{{"id":1,"method":"status","params":{{"x":"{}"}}}}"#, "x".repeat((1 << 20) - 200));
    talk.send(&line);
    assert_eq!(talk.answer()["ok"], true);
}
