//! What fuzzers feed bytes to, for the wires and files of a lane; see `docs/fuzzing.md`.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use serde_json::Map;

use super::profile::Profile;
use super::qmp::QmpClient;
use super::serial_lines::{LINE_LIMIT, LineSplitter};
use crate::oracle::drain::{DrainLine, DrainParser};

/// A profile's text: what is understood has a canonical text that means the same.
pub fn profile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, root) = (Path::new("/fuzz/lane.toml"), Path::new("/fuzz"));
    // Looks at other things than the rest does.
    let _ = Profile::extends_of(text);
    match Profile::parse("lane", text, file, root) {
        Ok(profile) => {
            let canonical = profile.canonical();
            let again = Profile::parse("lane", canonical, file, root);
            let again = again.unwrap_or_else(|error| panic!("{canonical:?} is not understood: {error}"));
            assert_eq!(again.canonical(), canonical, "of {text:?}");
            assert_eq!(again.profile_hash(), profile.profile_hash());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A serial port: the lines are the same however the bytes arrive, bounded, and what the drain makes of them survives as
/// JSON.
pub fn serial(data: &[u8]) {
    let mut lines = Vec::new();
    let mut splitter = LineSplitter::default();
    splitter.handle_bytes(data, |line| lines.push(line));
    let unfinished = splitter.unfinished();
    lines.extend(splitter.finish());
    assert_eq!(lines.last().filter(|_| unfinished.is_some()), unfinished.as_ref());
    let mut again = Vec::new();
    let mut splitter = LineSplitter::default();
    data.iter().for_each(|byte| splitter.handle_bytes(&[*byte], |line| again.push(line)));
    again.extend(splitter.finish());
    assert_eq!(again, lines, "byte by byte");
    let mut drain = DrainParser::new();
    for line in &lines {
        // A byte that is no UTF-8 becomes three.
        assert!(line.len() <= 3 * (LINE_LIMIT + 4), "{} bytes", line.len());
        assert!(!line.contains(['\n', '\r', '\x1b']), "{line:?}");
        if let Some(known) = drain.handle_line(line) {
            let json = serde_json::to_string(&known).expect("a line of the drain is plain data");
            let again: DrainLine = serde_json::from_str(&json).expect("what was just written");
            assert_eq!(again, known, "{json}");
        }
    }
}

/// What a QMP server says, all at once and then nothing more: negotiation, answers, events, the end.
pub fn qmp(data: &[u8]) {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime without IO");
    }
    let stream = tokio::io::join(Cursor::new(data.to_vec()), tokio::io::sink());
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            // There is an end, so nothing takes that long.
            let late = Duration::from_secs(5);
            let is_late =
                |error: &super::qmp::QmpError| matches!(error, super::qmp::QmpError::Timeout { .. });
            match QmpClient::negotiate(stream, late).await {
                Ok((client, mut events)) => {
                    if let Err(error) = client.execute("query-status", Map::new(), late).await {
                        assert!(!is_late(&error) && !error.to_string().is_empty());
                    }
                    while events.try_recv().is_ok() {}
                    client.close().await;
                }
                Err(error) => assert!(!is_late(&error) && !error.to_string().is_empty()),
            }
        });
    });
}
