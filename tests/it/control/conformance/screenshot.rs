//! Section 6, `screenshot`.

use base64::Engine as _;
use serde_json::{Value, json};

use super::guest::Guest;
use super::server::Server;
use super::shape::{Kind, Shape, U32};
use super::wire::Talk;

const SCREENSHOT: Shape =
    &[("width", U32), ("height", U32), ("format", Kind::Text), ("data_base64", Kind::Text)];

/// What is shown, as rows of R, G, B, A.
struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

fn shot(talk: &mut Talk, params: Value) -> (Value, Vec<u8>) {
    let shot = talk.call_shaped("screenshot", params, SCREENSHOT);
    let data = shot["data_base64"].as_str().unwrap();
    // The alphabet is the standard one, padded, without line breaks.
    let bytes = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    (shot, bytes)
}

fn side(shot: &Value, key: &str) -> u32 {
    u32::try_from(shot[key].as_u64().unwrap()).unwrap()
}

fn png(talk: &mut Talk, params: Value) -> Picture {
    let (shot, bytes) = shot(talk, params);
    assert_eq!(shot["format"], "png");
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::ALPHA | png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgba);
    assert_eq!(
        (info.width, info.height),
        (side(&shot, "width"), side(&shot, "height")),
        "sizes of PNG and result"
    );
    Picture { width: info.width, height: info.height, pixels }
}

fn rgba(talk: &mut Talk) -> Picture {
    let (shot, pixels) = shot(talk, json!({ "format": "rgba" }));
    assert_eq!(shot["format"], "rgba");
    let (width, height) = (side(&shot, "width"), side(&shot, "height"));
    assert_eq!(pixels.len(), width as usize * height as usize * 4, "four bytes a pixel");
    Picture { width, height, pixels }
}

#[test]
fn png_is_the_default_also_for_null() {
    let server = Server::take();
    let mut talk = server.talk();
    let _ = Guest::at_prompt(&mut talk);
    for params in [json!({}), json!({ "format": "png" }), json!({ "surface_id": null, "format": null })] {
        let picture = png(&mut talk, params);
        assert!(picture.width >= 640 && picture.height >= 480, "{}x{}", picture.width, picture.height);
    }
}

#[test]
fn png_and_rgba_show_the_same_pixels() {
    let server = Server::take();
    let mut talk = server.talk();
    let _ = Guest::at_prompt(&mut talk);
    // What is drawn between two pictures is nobody's fault.
    let same = (0..20).any(|_| {
        let (png, rgba) = (png(&mut talk, json!({})), rgba(&mut talk));
        assert_eq!((png.width, png.height), (rgba.width, rgba.height));
        let colours = |pixels: &[u8]| -> Vec<u8> {
            pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
        };
        colours(&png.pixels) == colours(&rgba.pixels)
    });
    assert!(same, "PNG and RGBA differ every time");
}

#[test]
fn rgba_is_opaque_in_the_order_red_green_blue_from_the_top_left() {
    let server = Server::take();
    let mut talk = server.talk();
    let _ = Guest::at_prompt(&mut talk);
    let picture = rgba(&mut talk);
    // The guest writes in one colour on black, and leaves a margin of 16 pixels.
    let row = picture.width as usize * 4;
    assert!(
        picture.pixels[..16 * row].chunks_exact(4).all(|pixel| pixel[..3] == [0, 0, 0]),
        "the top margin"
    );
    let writes = |pixel: &[u8]| pixel[..3] == [51, 150, 51];
    let first_line = &picture.pixels[16 * row..(16 + 16 * 5) * row];
    assert!(first_line.chunks_exact(4).any(writes), "the first lines of text");
    assert!(!picture.pixels.chunks_exact(4).any(|pixel| pixel[..3] == [51, 51, 150]), "no blue of that kind");
    assert!(picture.pixels.chunks_exact(4).all(|pixel| pixel[3] == 255), "opaque");
}

#[test]
fn a_surface_is_shown_by_its_id() {
    let server = Server::take();
    let mut talk = server.talk();
    let _ = Guest::at_prompt(&mut talk);
    assert!(png(&mut talk, json!({ "surface_id": 0 })).width >= 640);
}

#[test]
fn a_surface_that_is_not_there_is_no_such_surface() {
    let server = Server::take();
    let mut talk = server.talk();
    talk.refused("screenshot", json!({ "surface_id": 4_000_000_000_u32 }), "no_such_surface");
    talk.refused("screenshot", json!({ "surface_id": 77, "format": "rgba" }), "no_such_surface");
    talk.is_served();
}

#[test]
fn another_format_is_unsupported_format() {
    let server = Server::take();
    let mut talk = server.talk();
    for format in ["bmp", "PNG", "", "rgb"] {
        talk.refused("screenshot", json!({ "format": format }), "unsupported_format");
    }
    talk.is_served();
}
