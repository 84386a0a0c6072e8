//! Empty qcow2 images that lie over another image. Pure: bytes in, bytes out. QEMU's own description of the format is `docs/interop/qcow2.txt`.
//!
//! An overlay names no backing file: the argv does, so that an image can never make QEMU open what no plan showed.

const HEADER_BYTES: usize = 104;

/// The largest image for which [`overlay`] makes one, in bytes.
pub(super) const LARGEST: u64 = 1 << 46;

const MAGIC: u32 = 0x5146_49fb;
const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Guest bytes behind one entry of the L1 table: one L2 table of 8-byte entries, a cluster each.
const L1_ENTRY: u64 = CLUSTER * (CLUSTER / 8);
/// Where the refcount table, its only block and the L1 table lie; the header has the cluster before them.
const REFCOUNT_TABLE: u64 = CLUSTER;
const REFCOUNT_BLOCK: u64 = 2 * CLUSTER;
const L1_TABLE: u64 = 3 * CLUSTER;

/// Returns an image in which nothing is written yet, as large for the guest as what it lies over, rounded up to a
/// sector. Nothing if that is larger than [`LARGEST`].
pub(super) fn overlay(backing_bytes: u64) -> Option<Vec<u8>> {
    if backing_bytes > LARGEST {
        return None;
    }
    let virtual_size = backing_bytes.next_multiple_of(512);
    let l1_entries = virtual_size.div_ceil(L1_ENTRY).max(1);
    let l1_clusters = (l1_entries * 8).div_ceil(CLUSTER);
    let clusters = L1_TABLE / CLUSTER + l1_clusters;

    let mut image = Image(vec![0; usize::try_from(clusters * CLUSTER).ok()?]);
    image.word(0, MAGIC);
    image.word(4, 3);
    image.word(20, CLUSTER_BITS);
    image.long(24, virtual_size);
    image.word(36, u32::try_from(l1_entries).ok()?);
    image.long(40, L1_TABLE);
    image.long(48, REFCOUNT_TABLE);
    image.word(56, 1);
    // Refcounts of 2^4 bits.
    image.word(96, 4);
    image.word(100, u32::try_from(HEADER_BYTES).ok()?);
    image.long(usize::try_from(REFCOUNT_TABLE).ok()?, REFCOUNT_BLOCK);
    for cluster in 0..clusters {
        image.put(usize::try_from(REFCOUNT_BLOCK + cluster * 2).ok()?, &1_u16.to_be_bytes());
    }
    Some(image.0)
}

struct Image(Vec<u8>);

impl Image {
    fn word(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_be_bytes());
    }

    fn long(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_be_bytes());
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}
