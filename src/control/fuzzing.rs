//! What a fuzzer feeds to both ends of a control socket.

use serde_json::json;

use super::lines::LineBuffer;
use super::protocol::{Code, Envelope, Response, ServerLine};

/// The first byte chooses the end, 0 a server and otherwise a client, the second into what pieces the rest is cut.
///
/// # Panics
/// When something is wrong with what is made of it.
pub fn control(data: &[u8]) {
    let [end, size, stream @ ..] = data else { return };
    let check = if *end == 0 { check_request } else { check_server_line };
    let mut lines = LineBuffer::default();
    let mut count = 0;
    for piece in stream.chunks(usize::from(*size).max(1)) {
        lines.push(piece);
        while let Some(line) = lines.next_line() {
            count += 1;
            check(line);
        }
        assert!(!lines.rest().contains(&b'\n'), "a line was forgotten");
    }
    let wanted = stream.split_inclusive(|byte| *byte == b'\n').filter(|line| is_line(line)).count();
    assert_eq!(count, wanted, "lines");
}

fn is_line(line: &[u8]) -> bool {
    line.ends_with(b"\n") && !line.iter().all(u8::is_ascii_whitespace)
}

fn check_request(line: &[u8]) {
    let envelope = match Envelope::parse(line) {
        Ok(envelope) => envelope,
        Err(fault) => {
            assert_eq!(fault.code, Code::BAD_PARAMS);
            return check_server_line(
                Response { id: None, outcome: Err(fault) }.line().trim_end().as_bytes(),
            );
        }
    };
    let id = envelope.id.clone();
    let outcome = envelope.call();
    if let Ok(call) = &outcome {
        let again = Envelope::parse(Envelope::line(id.clone(), call).trim_end().as_bytes());
        assert_eq!(
            again.map(|envelope| (envelope.id.clone(), envelope.call())),
            Ok((id.clone(), Ok(call.clone())))
        );
    }
    let response = Response { id: Some(id), outcome: outcome.map(|_| json!({})) };
    let line = response.line();
    assert_eq!(line.matches('\n').count(), 1, "one line");
    assert_eq!(ServerLine::parse(line.trim_end().as_bytes()), Ok(ServerLine::Response(response)));
}

fn check_server_line(line: &[u8]) {
    let Ok(parsed) = ServerLine::parse(line) else { return };
    let again = match &parsed {
        ServerLine::Response(response) => response.line(),
        ServerLine::Event(event) => event.line(),
        ServerLine::Unknown { .. } => return,
    };
    let again = ServerLine::parse(again.trim_end().as_bytes());
    match (parsed, again) {
        // Numbers with a point may change in their last digit.
        (ServerLine::Event(before), Ok(ServerLine::Event(after))) => assert_eq!(before.kind(), after.kind()),
        (ServerLine::Response(before), Ok(ServerLine::Response(after))) => {
            assert_eq!((before.id, before.outcome.is_ok()), (after.id, after.outcome.is_ok()));
        }
        (before, after) => panic!("{before:?} became {after:?}"),
    }
}
