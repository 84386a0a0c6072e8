//! Section 6, `status`.

use serde_json::json;

use super::guest::Guest;
use super::server::Server;
use super::shape::{Kind, Shape, U8, U32};

const SURFACE: Shape = &[("channel_id", U8), ("surface_id", U32), ("width", U32), ("height", U32)];
const STATUS: Shape =
    &[("spice_connected", Kind::Bool), ("agent_connected", Kind::Bool), ("surfaces", Kind::Objects(SURFACE))];

#[test]
fn status_has_all_its_keys_and_shows_the_screen() {
    let server = Server::take();
    let mut talk = server.talk();
    // A screen may come late, and the guest has none of its own before it booted.
    let _ = Guest::at_prompt(&mut talk);
    let status = talk.call_shaped("status", json!({}), STATUS);
    assert_eq!(status["spice_connected"], true, "{status}");
    let surfaces = status["surfaces"].as_array().unwrap();
    let screen = surfaces.iter().find(|surface| surface["surface_id"] == 0 && surface["channel_id"] == 0);
    let screen = screen.unwrap_or_else(|| panic!("the screen is missing: {status}"));
    let shot = talk.call("screenshot", json!({}));
    assert_eq!((&shot["width"], &shot["height"]), (&screen["width"], &screen["height"]), "{status}");
}

#[test]
fn status_passes_over_parameters() {
    let server = Server::take();
    server.talk().call_shaped("status", json!({ "verbose": true }), STATUS);
}
