//! Empty qcow2 images that lie over another image, and the few facts of an image's header that matter to a plan.
//! Pure: bytes in, bytes out. QEMU's own description of the format is `docs/interop/qcow2.txt`.
//!
//! An overlay names no backing file: the argv does, so that an image can never make QEMU open what no plan showed.

/// Bytes of [`Header::parse`]'s input that are enough.
pub(super) const HEADER_BYTES: usize = 104;

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
/// Data in a file of its own (incompatible feature bit 2).
const EXTERNAL_DATA: u64 = 1 << 2;

/// What an image says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// What the guest sees, in bytes.
    pub(super) virtual_size: u64,
    /// Whether other files belong to the image.
    pub(super) needs_other_files: bool,
}

impl Header {
    /// Reads the beginning of an image; nothing if it is not qcow2 of version 2 or 3.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let version = word(4)?;
        if word(0)? != MAGIC || !(2..=3).contains(&version) {
            return None;
        }
        let incompatible = if version == 3 { long(72)? } else { 0 };
        let needs_other_files = long(8)? != 0 || incompatible & EXTERNAL_DATA != 0;
        Some(Self { virtual_size: long(24)?, needs_other_files })
    }
}

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

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{CLUSTER, HEADER_BYTES, Header, L1_ENTRY, LARGEST, overlay};

    #[test]
    fn an_overlay_says_its_size_and_names_no_file() {
        for (backing, wanted) in [(0, 0), (1, 512), (540_672, 540_672), (LARGEST, LARGEST)] {
            let header = Header::parse(&overlay(backing).unwrap()).unwrap();
            assert_eq!(header, Header { virtual_size: wanted, needs_other_files: false });
        }
        assert_eq!(overlay(LARGEST + 1), None);
    }

    #[test]
    fn every_cluster_of_an_overlay_is_counted_once_and_no_other() {
        for backing in [0, L1_ENTRY, L1_ENTRY * 8_192, L1_ENTRY * 8_193, LARGEST] {
            let image = overlay(backing).unwrap();
            let cluster = usize::try_from(CLUSTER).unwrap();
            let clusters = image.len() / cluster;
            assert_eq!(image.len() % cluster, 0);
            let counts = &image[2 * cluster..3 * cluster];
            let counts: Vec<u16> = counts.chunks(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect();
            assert!(counts[..clusters].iter().all(|count| *count == 1), "{backing}");
            assert!(counts[clusters..].iter().all(|count| *count == 0), "{backing}");
        }
    }

    #[test]
    fn the_header_is_the_bytes_of_the_format() {
        let image = overlay(3 * 1_024 * 1_024).unwrap();
        let wanted: [(usize, &[u8]); 9] = [
            (0, b"QFI\xfb"),
            (4, &[0, 0, 0, 3]),
            (8, &[0; 12]),                      // no backing file
            (20, &[0, 0, 0, 16]),               // clusters of 64 KiB
            (24, &[0, 0, 0, 0, 0, 0x30, 0, 0]), // 3 MiB
            (36, &[0, 0, 0, 1]),                // one L1 entry
            (40, &[0, 0, 0, 0, 0, 3, 0, 0]),    // which is in cluster 3
            (48, &[0, 0, 0, 0, 0, 1, 0, 0]),    // refcount table in cluster 1
            (100, &[0, 0, 0, 104]),
        ];
        for (at, bytes) in wanted {
            assert_eq!(&image[at..at + bytes.len()], bytes, "offset {at}");
        }
    }

    #[test]
    fn images_of_several_files_are_told_apart() {
        let mut image = overlay(512).unwrap();
        image[15] = 104;
        assert!(Header::parse(&image).unwrap().needs_other_files, "a backing file");
        let mut image = overlay(512).unwrap();
        image[79] = 4;
        assert!(Header::parse(&image).unwrap().needs_other_files, "an external data file");
        image[7] = 2;
        assert!(!Header::parse(&image).unwrap().needs_other_files, "version 2 has no such field");
    }

    #[test]
    fn what_is_no_image_or_cut_off_is_nothing() {
        let image = overlay(512).unwrap();
        assert!(Header::parse(&image[..HEADER_BYTES]).is_some());
        for length in 0..80 {
            assert_eq!(Header::parse(&image[..length]), None, "{length} bytes");
        }
        assert_eq!(Header::parse(&[0; 512]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = Header::parse(&bytes);
            let mut image = overlay(512).unwrap();
            image[4..4 + bytes.len()].copy_from_slice(&bytes);
            let _ = Header::parse(&image);
        }
    }
}
