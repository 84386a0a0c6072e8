//! Pictures that tests compare with.

/// Pixels of a pattern, rows from the top.
pub(crate) fn expected(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Vec<u8> {
    let pixel = &pixel;
    (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect()
}

/// A little of everything in each pixel.
pub(crate) fn waves(x: u32, y: u32) -> [u8; 4] {
    [x * y, 7 * y + x, 5 * x + y, 3 * x + 2 * y].map(|sample| sample.to_le_bytes()[0])
}

/// Blocks of 9 x 4 in four colours, alpha in stripes.
pub(crate) fn blocks(x: u32, y: u32) -> [u8; 4] {
    let shade = u8::try_from((x / 9 + y / 4) & 3).unwrap();
    let alpha = if (x / 20) % 2 == 1 { 33 * shade } else { 255 };
    [255 - 40 * shade, 80 * shade, 60 * shade, alpha]
}

/// Flat stretches with a dot here and there.
pub(crate) fn steps(x: u32, y: u32) -> [u8; 4] {
    let blue = if (x + 7 * y).is_multiple_of(97) { 100 } else { 60 };
    [blue, 40 + 30 * (x / 31), 20 + 9 * (y / 16), 0].map(|sample| sample.to_le_bytes()[0])
}

/// CRC-32 as in zlib.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
