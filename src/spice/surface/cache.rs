//! What a server lets this side keep: decoded images and palettes, by the keys it chose.

use std::collections::HashMap;
use std::sync::Arc;

use crate::spice::codec::{Picture, Pool};
use crate::spice::wire::types::Palette;

/// Decoded images. The server decides what is in it; this side only counts.
#[derive(Debug)]
pub(super) struct ImageCache {
    budget_pixels: u64,
    pixels: u64,
    entries: HashMap<u64, CachedImage>,
    /// Where the pixels of those that are removed go.
    pool: Pool,
    spare: Spare<Picture>,
}

#[derive(Debug)]
struct CachedImage {
    picture: Arc<Picture>,
    /// The server removes an image as often as it announced it.
    references: u32,
}

impl ImageCache {
    pub(super) fn new(budget_pixels: u64, pool: Pool) -> Self {
        Self { budget_pixels, pixels: 0, entries: HashMap::new(), pool, spare: Spare::default() }
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

    /// Stores an image, replacing the pixels of one with the same id. Fails with the number of pixels held when
    /// that is more than the budget and one image on top.
    pub(super) fn insert(
        &mut self,
        id: u64,
        picture: Picture,
        is_replacement: bool,
    ) -> Result<Arc<Picture>, u64> {
        let added = picture.pixels();
        let picture = self.spare.fill(|spare| *spare = picture);
        let references = match self.entries.get(&id) {
            Some(entry) if is_replacement => entry.references,
            Some(entry) => entry.references.saturating_add(1),
            None => 1,
        };
        let entry = CachedImage { picture: Arc::clone(&picture), references };
        if let Some(old) = self.entries.insert(id, entry) {
            self.drop_pixels(old);
        }
        let others = self.pixels;
        self.pixels += added;
        if others > self.budget_pixels { Err(self.pixels) } else { Ok(picture) }
    }

    pub(super) fn remove(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.references -= 1;
        if entry.references == 0
            && let Some(old) = self.entries.remove(&id)
        {
            self.drop_pixels(old);
        }
    }

    pub(super) fn clear(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.drain().for_each(|(_, old)| self.drop_pixels(old));
        self.entries = entries;
    }

    fn drop_pixels(&mut self, old: CachedImage) {
        self.pixels -= old.picture.pixels();
        let pool = &self.pool;
        self.spare.keep(old.picture, |picture| pool.give(std::mem::take(&mut picture.bytes)));
    }
}

/// Shared memory that nobody shares any more.
///
/// INVARIANT: each has no other owner.
#[derive(Debug, Default)]
struct Spare<T>(Vec<Arc<T>>);

impl<T: Default> Spare<T> {
    /// More wait nowhere in practice; it bounds what a server can leave behind.
    const LIMIT: usize = 1024;

    /// One that `fill` has given its value.
    fn fill(&mut self, fill: impl FnOnce(&mut T)) -> Arc<T> {
        let mut shared = self.0.pop().unwrap_or_default();
        if let Some(value) = Arc::get_mut(&mut shared) {
            fill(value);
        }
        shared
    }

    /// Keeps one for its next use, if this was its last owner, without what `empty` takes out.
    fn keep(&mut self, mut shared: Arc<T>, empty: impl FnOnce(&mut T)) {
        if let Some(value) = Arc::get_mut(&mut shared) {
            empty(value);
            if self.0.len() < Self::LIMIT {
                self.0.push(shared);
            }
        }
    }
}

/// Palettes.
#[derive(Debug, Default)]
pub(super) struct PaletteCache {
    entries: HashMap<u64, Arc<Vec<u32>>>,
    spare: Spare<Vec<u32>>,
}

impl PaletteCache {
    /// More palettes than any server keeps.
    pub(super) const LIMIT: usize = 256;

    pub(super) fn get(&self, id: u64) -> Option<Arc<Vec<u32>>> {
        self.entries.get(&id).cloned()
    }

    /// A palette to decode with, not stored. It should be [given back](Self::give_back).
    pub(super) fn lend(&mut self, palette: &Palette<'_>) -> Arc<Vec<u32>> {
        self.spare.fill(|colours| {
            colours.clear();
            colours.extend(palette.colours.iter());
        })
    }

    /// Takes back a palette that nothing is decoded with any more.
    pub(super) fn give_back(&mut self, colours: Arc<Vec<u32>>) {
        self.spare.keep(colours, |_| {});
    }

    /// Stores a palette. Returns false when the cache is full.
    #[must_use]
    pub(super) fn insert(&mut self, id: u64, colours: Arc<Vec<u32>>) -> bool {
        if self.entries.len() >= Self::LIMIT && !self.entries.contains_key(&id) {
            return false;
        }
        if let Some(old) = self.entries.insert(id, colours) {
            self.give_back(old);
        }
        true
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Some(old) = self.entries.remove(&id) {
            self.give_back(old);
        }
    }

    pub(super) fn clear(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.drain().for_each(|(_, old)| self.give_back(old));
        self.entries = entries;
    }
}
