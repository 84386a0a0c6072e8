//! A screen made of bytes, with a digest painted as a guest paints it.

use visual_digest::symbol::Symbol;
use visual_digest::{
    ChannelHashes, FOREGROUND, Frame, MODULE_SIZE, Payload, QUIET_MODULES, REGION_SIZE, Record,
    SYMBOL_MODULES, encode, framebuffer_hash, region_origin,
};

pub(crate) struct Screen {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixels: Vec<u8>,
}

impl Screen {
    /// A black screen.
    pub(crate) fn new(width: u32, height: u32) -> Self {
        Self { width, height, pixels: vec![0; (width * height * 4) as usize] }
    }

    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame::new(self.width, self.height, (self.width * 4) as usize, &self.pixels)
            .expect("all pixels are there")
    }

    /// Fills a rectangle with red, green, blue.
    pub(crate) fn fill(&mut self, x: u32, y: u32, width: u32, height: u32, [r, g, b]: [u8; 3]) {
        for row in y..y + height {
            let start = ((row * self.width + x) * 4) as usize;
            let pixels = &mut self.pixels[start..start + (width * 4) as usize];
            pixels.as_chunks_mut::<4>().0.fill([b, g, r, 0]);
        }
    }

    /// Paints the symbol where the format wants it.
    pub(crate) fn paint(&mut self, payload: &Payload) {
        let (x, y) = region_origin(self.width, self.height);
        self.paint_at(payload, x, y);
    }

    /// Paints the symbol and its border with the border's corner at the place given.
    pub(crate) fn paint_at(&mut self, payload: &Payload, x: u32, y: u32) {
        let symbol = Symbol::encode(payload);
        self.fill(x, y, REGION_SIZE, REGION_SIZE, [0; 3]);
        let border = QUIET_MODULES * MODULE_SIZE;
        for row in 0..SYMBOL_MODULES {
            for column in (0..SYMBOL_MODULES).filter(|column| symbol.is_set(*column, row)) {
                let (x, y) = (x + border + column * MODULE_SIZE, y + border + row * MODULE_SIZE);
                self.fill(x, y, MODULE_SIZE, MODULE_SIZE, FOREGROUND);
            }
        }
    }

    /// Does what a guest does at a refresh: hashes what is there, then paints the digest of it.
    pub(crate) fn refresh(&mut self, frame_counter: u32, records: &[Record]) {
        let mut hashes = ChannelHashes::default();
        records.iter().for_each(|record| hashes.extend(record));
        self.paint(&encode(frame_counter, &hashes, records.iter(), framebuffer_hash(self.frame())));
    }
}
