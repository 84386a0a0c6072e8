//! What a server lets this side keep: decoded images and palettes, by the keys it chose.

use std::collections::HashMap;
use std::sync::Arc;

use crate::spice::codec::Picture;
use crate::spice::wire::types::Palette;

/// Decoded images. The server decides what is in it; this side only counts.
#[derive(Debug)]
pub(super) struct ImageCache {
    budget_pixels: u64,
    pixels: u64,
    entries: HashMap<u64, CachedImage>,
}

#[derive(Debug)]
struct CachedImage {
    picture: Arc<Picture>,
    /// The server removes an image as often as it announced it.
    references: u32,
}

impl ImageCache {
    pub(super) fn new(budget_pixels: u64) -> Self {
        Self { budget_pixels, pixels: 0, entries: HashMap::new() }
    }

    /// More images than any server keeps. Without it small ones would take much more memory than their pixels.
    pub(super) const MOST_IMAGES: u64 = 1 << 18;

    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn held_pixels(&self) -> u64 {
        self.pixels
    }

    pub(super) fn get(&self, id: u64) -> Option<Arc<Picture>> {
        self.entries.get(&id).map(|entry| Arc::clone(&entry.picture))
    }

    /// Stores an image, replacing the pixels of one with the same id. Returns the number of pixels held when
    /// that is more than the budget and one image on top.
    pub(super) fn insert(&mut self, id: u64, picture: Arc<Picture>, is_replacement: bool) -> Result<(), u64> {
        let added = picture.pixels();
        let references = match self.entries.get(&id) {
            Some(entry) if is_replacement => entry.references,
            Some(entry) => entry.references.saturating_add(1),
            None => 1,
        };
        if let Some(old) = self.entries.insert(id, CachedImage { picture, references }) {
            self.pixels -= old.picture.pixels();
        }
        if self.pixels > self.budget_pixels {
            return Err(self.pixels.saturating_add(added));
        }
        self.pixels += added;
        Ok(())
    }

    pub(super) fn remove(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.references -= 1;
        if entry.references == 0 {
            self.pixels -= entry.picture.pixels();
            self.entries.remove(&id);
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.pixels = 0;
    }
}

/// Palettes.
#[derive(Debug, Default)]
pub(super) struct PaletteCache {
    entries: HashMap<u64, Arc<Vec<u32>>>,
}

impl PaletteCache {
    /// More palettes than any server keeps.
    pub(super) const LIMIT: usize = 256;

    pub(super) fn get(&self, id: u64) -> Option<Arc<Vec<u32>>> {
        self.entries.get(&id).cloned()
    }

    /// Returns false when the cache is full.
    #[must_use]
    pub(super) fn insert(&mut self, palette: &Palette) -> bool {
        if self.entries.len() >= Self::LIMIT && !self.entries.contains_key(&palette.unique) {
            return false;
        }
        self.entries.insert(palette.unique, Arc::new(palette.colours.clone()));
        true
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.entries.remove(&id);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}
