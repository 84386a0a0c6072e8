//! Reads a symbol at the one place where the format puts it. Nothing is searched, nothing is repaired: a single module
//! that is wrong makes it an error, and a reader that searches has to be asked instead.

use super::SIDE;
use crate::frame::{Frame, MODULE_SIZE, QUIET_MODULES, REGION_SIZE, SYMBOL_MODULES, region_origin};
use crate::payload::{MAX_PAYLOAD, Payload};
use std::fmt;

/// Why there is no readable symbol at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The screen is too small for the digest's region.
    NoRoom {
        /// The screen's width in pixels.
        width: u32,
        /// The screen's height in pixels.
        height: u32,
    },
    /// A finder, timing or alignment module is not what it is in every symbol.
    Pattern {
        /// The first row with such a module, from the top of the symbol.
        row: usize,
    },
    /// The format information is not that of level L, or its two copies are not the same.
    Format,
    /// The codewords do not fit their error correction.
    Corrupt,
    /// The content is not one segment in byte mode.
    Segment {
        /// The segment's mode, 4 bits.
        mode: u8,
        /// The segment's length in bytes.
        len: usize,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom { width, height } => {
                write!(
                    f,
                    "no room for a region of {REGION_SIZE}x{REGION_SIZE} on a screen of {width}x{height}"
                )
            }
            Self::Pattern { row } => write!(f, "no symbol at its place: the pattern breaks in row {row}"),
            Self::Format => f.write_str("the symbol's format information is not that of level L"),
            Self::Corrupt => f.write_str("the symbol's codewords do not fit their error correction"),
            Self::Segment { mode, len } => write!(
                f,
                "the symbol holds {len} bytes in mode {mode}, wanted at most {MAX_PAYLOAD} in mode {BYTE_MODE}"
            ),
        }
    }
}

impl std::error::Error for ReadError {}

/// Reads the payload of the symbol at its place on the frame, from the centre of each module.
///
/// # Errors
/// When the frame shows no flawless symbol there: none at all, half painted, dark on bright, or with a bad module.
pub fn read(frame: Frame<'_>) -> Result<Payload, ReadError> {
    let mut rows = sample(frame)?;
    check_patterns(&rows)?;
    let mask = read_format(&rows)?;
    for (y, row) in rows.iter_mut().enumerate() {
        *row ^= MASKS[mask][y];
    }
    let codewords = read_codewords(&rows);
    let (data, correction) = codewords.split_at(DATA_CODEWORDS);
    if remainder(data) != *correction {
        return Err(ReadError::Corrupt);
    }
    parse_segment(data)
}

/// Bit `x` of row `y`, as in [`super::Symbol`].
type Rows = [u64; SIDE];

const BYTE_MODE: u8 = 0b0100;
const DATA_CODEWORDS: usize = 108;
const EC_CODEWORDS: usize = 26;
const CODEWORDS: usize = DATA_CODEWORDS + EC_CODEWORDS;
/// Half of the foreground's green.
const BRIGHT: u8 = 75;

fn sample(frame: Frame<'_>) -> Result<Rows, ReadError> {
    let (width, height) = (frame.width(), frame.height());
    let (left, top) = region_origin(width, height);
    let first = |region: u32| region + QUIET_MODULES * MODULE_SIZE;
    let columns = first(left)..first(left) + SYMBOL_MODULES * MODULE_SIZE;
    if left + REGION_SIZE > width || top + REGION_SIZE > height {
        return Err(ReadError::NoRoom { width, height });
    }
    let mut rows = [0; SIDE];
    let centres = (first(top) + MODULE_SIZE / 2..).step_by(MODULE_SIZE as usize);
    for (row, y) in rows.iter_mut().zip(centres) {
        let (modules, _) = frame.row(y, columns.clone()).as_chunks::<{ 4 * MODULE_SIZE as usize }>();
        for (x, module) in modules.iter().enumerate() {
            // Two pixels in, and one byte in for green.
            let green = module[4 * (MODULE_SIZE as usize / 2) + 1];
            *row |= u64::from(green > BRIGHT) << x;
        }
    }
    Ok(rows)
}

fn check_patterns(rows: &Rows) -> Result<(), ReadError> {
    let broken = |row: &usize| (rows[*row] ^ PATTERN.set[*row]) & PATTERN.fixed[*row] != 0;
    match (0..SIDE).find(broken) {
        Some(row) => Err(ReadError::Pattern { row }),
        None => Ok(()),
    }
}

/// Returns the number of the mask.
fn read_format(rows: &Rows) -> Result<usize, ReadError> {
    let collect = |places: &[(u8, u8); 15]| {
        places.iter().enumerate().fold(0_u16, |bits, (index, (x, y))| {
            bits | u16::from(rows[usize::from(*y)] >> x & 1 == 1) << index
        })
    };
    let first = collect(&FORMAT_BESIDE_FINDER);
    if first != collect(&FORMAT_AT_EDGES) {
        return Err(ReadError::Format);
    }
    FORMATS.iter().position(|format| *format == first).ok_or(ReadError::Format)
}

fn read_codewords(rows: &Rows) -> [u8; CODEWORDS] {
    let mut codewords = [0; CODEWORDS];
    for (codeword, places) in codewords.iter_mut().zip(&CODEWORD_PLACES) {
        for (x, y) in places {
            *codeword = *codeword << 1 | u8::from(rows[usize::from(*y)] >> x & 1 == 1);
        }
    }
    codewords
}

/// Returns the error correction codewords that belong to `data`. That these are the ones in the symbol is the same
/// as all its syndromes being zero.
fn remainder(data: &[u8]) -> [u8; EC_CODEWORDS] {
    let mut remainder = [0; EC_CODEWORDS];
    for byte in data {
        let factor = usize::from(byte ^ remainder[0]);
        remainder.copy_within(1.., 0);
        remainder[EC_CODEWORDS - 1] = 0;
        for (coefficient, product) in remainder.iter_mut().zip(&GENERATOR_MULTIPLES[factor]) {
            *coefficient ^= product;
        }
    }
    remainder
}

fn parse_segment(data: &[u8]) -> Result<Payload, ReadError> {
    // The mode has four bits, so everything after it stands across byte boundaries.
    let mut shifted = [0; DATA_CODEWORDS];
    for (out, pair) in shifted.iter_mut().zip(data.windows(2)) {
        *out = pair[0] << 4 | pair[1] >> 4;
    }
    let mode = data[0] >> 4;
    let [len, content @ ..] = shifted;
    let len = usize::from(len);
    // The last two of `shifted` are half beyond the codewords; MAX_PAYLOAD ends before them.
    let bytes = content.get(..len).filter(|_| mode == BYTE_MODE);
    bytes.and_then(Payload::from_bytes).ok_or(ReadError::Segment { mode, len })
}

/// The modules that are the same in every symbol.
struct Pattern {
    /// Which they are.
    fixed: Rows,
    /// Whether they are set.
    set: Rows,
}

const PATTERN: Pattern = pattern();

const fn pattern() -> Pattern {
    const ALIGNMENT: usize = 30;
    let mut pattern = Pattern { fixed: [0; SIDE], set: [0; SIDE] };
    let mut y = 0;
    while y < SIDE {
        let mut x = 0;
        while x < SIDE {
            let finder = finder_module(x, y);
            let ring = ring(x.abs_diff(ALIGNMENT), y.abs_diff(ALIGNMENT));
            let (fixed, set) = if finder.0 {
                finder
            } else if ring <= 2 {
                (true, ring != 1)
            } else if x == 6 || y == 6 {
                (true, (x + y) % 2 == 0)
            } else {
                // The one dark module of the standard, bright here, beside the lower finder.
                (x == 8 && y == SIDE - 8, true)
            };
            pattern.fixed[y] |= (fixed as u64) << x;
            pattern.set[y] |= ((fixed && set) as u64) << x;
            x += 1;
        }
        y += 1;
    }
    pattern
}

/// Returns whether the module is part of a finder or the border around it, and whether it is set then.
const fn finder_module(x: usize, y: usize) -> (bool, bool) {
    let centres = [(3, 3), (SIDE - 4, 3), (3, SIDE - 4)];
    let mut index = 0;
    while index < centres.len() {
        let ring = ring(x.abs_diff(centres[index].0), y.abs_diff(centres[index].1));
        if ring <= 4 {
            return (true, ring != 2 && ring != 4);
        }
        index += 1;
    }
    (false, false)
}

const fn ring(dx: usize, dy: usize) -> usize {
    if dx > dy { dx } else { dy }
}

/// Where the bits of the format information are, as (x, y), the lowest first: around the top left finder.
const FORMAT_BESIDE_FINDER: [(u8, u8); 15] = [
    (8, 0),
    (8, 1),
    (8, 2),
    (8, 3),
    (8, 4),
    (8, 5),
    (8, 7),
    (8, 8),
    (7, 8),
    (5, 8),
    (4, 8),
    (3, 8),
    (2, 8),
    (1, 8),
    (0, 8),
];

/// The second copy of the format information: below the top right finder, and right of the lower left one.
const FORMAT_AT_EDGES: [(u8, u8); 15] = [
    (36, 8),
    (35, 8),
    (34, 8),
    (33, 8),
    (32, 8),
    (31, 8),
    (30, 8),
    (29, 8),
    (8, 30),
    (8, 31),
    (8, 32),
    (8, 33),
    (8, 34),
    (8, 35),
    (8, 36),
];

/// The format information of level L with each of the eight masks.
const FORMATS: [u16; 8] = formats();

const fn formats() -> [u16; 8] {
    const LEVEL_L: u16 = 0b01;
    let mut formats = [0; 8];
    let mut mask = 0;
    while mask < 8 {
        let data = LEVEL_L << 3 | mask;
        let mut remainder = data;
        let mut step = 0;
        while step < 10 {
            remainder = (remainder << 1) ^ ((remainder >> 9) * 0x537);
            step += 1;
        }
        formats[mask as usize] = (data << 10 | remainder) ^ 0x5412;
        mask += 1;
    }
    formats
}

/// What each mask inverts, the data modules only.
static MASKS: [Rows; 8] = masks();

const fn masks() -> [Rows; 8] {
    let mut masks = [[0; SIDE]; 8];
    let mut mask = 0;
    while mask < 8 {
        let mut y = 0;
        while y < SIDE {
            let mut x = 0;
            while x < SIDE {
                masks[mask][y] |= (is_inverted(mask, x, y) as u64) << x;
                x += 1;
            }
            y += 1;
        }
        mask += 1;
    }
    masks
}

const fn is_inverted(mask: usize, x: usize, y: usize) -> bool {
    0 == match mask {
        0 => (x + y) % 2,
        1 => y % 2,
        2 => x % 3,
        3 => (x + y) % 3,
        4 => (x / 3 + y / 2) % 2,
        5 => x * y % 2 + x * y % 3,
        6 => (x * y % 2 + x * y % 3) % 2,
        _ => ((x + y) % 2 + x * y % 3) % 2,
    }
}

/// Where the bits of each codeword are, as (x, y), the highest first.
static CODEWORD_PLACES: [[(u8, u8); 8]; CODEWORDS] = codeword_places();

#[expect(clippy::cast_possible_truncation, reason = "coordinates are below 37")]
const fn codeword_places() -> [[(u8, u8); 8]; CODEWORDS] {
    let mut places = [[(0, 0); 8]; CODEWORDS];
    let mut bit = 0;
    let mut pair = 0;
    // Two columns at a time from the right, up and down in turn; the timing column is not counted.
    while pair < (SIDE - 1) / 2 {
        let right = if SIDE - 1 - 2 * pair <= 6 { SIDE - 2 - 2 * pair } else { SIDE - 1 - 2 * pair };
        let mut step = 0;
        while step < 2 * SIDE {
            let y = if pair % 2 == 0 { SIDE - 1 - step / 2 } else { step / 2 };
            let x = right - step % 2;
            if !is_function(x, y) && bit < 8 * CODEWORDS {
                places[bit / 8][bit % 8] = (x as u8, y as u8);
                bit += 1;
            }
            step += 1;
        }
        pair += 1;
    }
    places
}

const fn is_function(x: usize, y: usize) -> bool {
    let format = (x == 8 && (y <= 8 || y >= SIDE - 8)) || (y == 8 && (x <= 8 || x >= SIDE - 8));
    format || PATTERN.fixed[y] >> x & 1 == 1
}

/// Every multiple of the generator polynomial, without its leading coefficient.
static GENERATOR_MULTIPLES: [[u8; EC_CODEWORDS]; 256] = generator_multiples();

const fn generator_multiples() -> [[u8; EC_CODEWORDS]; 256] {
    // The product of (x - 2^i) for i below EC_CODEWORDS, the highest power first.
    let mut generator = [0; EC_CODEWORDS];
    generator[EC_CODEWORDS - 1] = 1;
    let mut root = 1;
    let mut factor = 0;
    while factor < EC_CODEWORDS {
        let mut place = 0;
        while place < EC_CODEWORDS {
            generator[place] = field_multiply(generator[place], root);
            if place + 1 < EC_CODEWORDS {
                generator[place] ^= generator[place + 1];
            }
            place += 1;
        }
        root = field_multiply(root, 2);
        factor += 1;
    }
    let mut multiples = [[0; EC_CODEWORDS]; 256];
    let mut by: u8 = 0;
    loop {
        let mut place = 0;
        while place < EC_CODEWORDS {
            multiples[by as usize][place] = field_multiply(generator[place], by);
            place += 1;
        }
        if by == u8::MAX {
            return multiples;
        }
        by += 1;
    }
}

/// Multiplies in the field of 256 elements with the polynomial 0x11d.
const fn field_multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = if a & 0x80 != 0 { a << 1 ^ 0x1d } else { a << 1 };
        b >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbol::Symbol;
    use proptest::prelude::*;

    const WIDTH: u32 = 320;
    const HEIGHT: u32 = 256;

    /// A screen of noise-free black with one symbol at its place.
    struct Screen {
        pixels: Vec<u8>,
    }

    impl Screen {
        fn showing(payload: &Payload) -> Self {
            let mut screen = Self { pixels: vec![0; (WIDTH * HEIGHT * 4) as usize] };
            let symbol = Symbol::encode(payload);
            for y in 0..SYMBOL_MODULES {
                for x in 0..SYMBOL_MODULES {
                    screen.paint(x, y, symbol.is_set(x, y));
                }
            }
            screen
        }

        fn paint(&mut self, x: u32, y: u32, set: bool) {
            let (left, top) = region_origin(WIDTH, HEIGHT);
            let border = QUIET_MODULES * MODULE_SIZE;
            for row in 0..MODULE_SIZE {
                let y = top + border + y * MODULE_SIZE + row;
                let start = ((y * WIDTH + left + border + x * MODULE_SIZE) * 4) as usize;
                let colour = if set { [51, 150, 51, 0] } else { [0; 4] };
                self.pixels[start..start + 16].copy_from_slice(&colour.repeat(4));
            }
        }

        fn read(&self) -> Result<Payload, ReadError> {
            read(Frame::new(WIDTH, HEIGHT, (WIDTH * 4) as usize, &self.pixels).unwrap())
        }
    }

    fn payload(bytes: &[u8]) -> Payload {
        Payload::from_bytes(bytes).unwrap()
    }

    #[test]
    fn the_format_information_of_level_l_is_the_standards() {
        assert_eq!(FORMATS, [0x77C4, 0x72F3, 0x7DAA, 0x789D, 0x662F, 0x6318, 0x6C41, 0x6976]);
    }

    #[test]
    fn a_symbol_of_every_mask_is_read_back() {
        let mut masks = std::collections::BTreeSet::new();
        for seed in 0..200_u32 {
            let noise =
                (seed..).map(|number| crate::crc32c::checksum(&number.to_le_bytes()).to_le_bytes()[0]);
            let bytes = payload(&noise.take(MAX_PAYLOAD).collect::<Vec<u8>>());
            let screen = Screen::showing(&bytes);
            let frame = Frame::new(WIDTH, HEIGHT, (WIDTH * 4) as usize, &screen.pixels).unwrap();
            masks.insert(read_format(&sample(frame).unwrap()).unwrap());
            assert_eq!(screen.read(), Ok(bytes));
        }
        assert_eq!(masks.len(), 8, "every mask must have been chosen at least once: {masks:?}");
    }

    #[test]
    fn one_wrong_module_anywhere_is_an_error() {
        let bytes = payload(include_bytes!("../../../../fixtures/digest/budget.bin"));
        let symbol = Symbol::encode(&bytes);
        let mut screen = Screen::showing(&bytes);
        let mut unseen = Vec::new();
        for (x, y) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (x, y))) {
            let (column, row) = (u32::try_from(x).unwrap(), u32::try_from(y).unwrap());
            screen.paint(column, row, !symbol.is_set(column, row));
            if screen.read().is_ok() {
                unseen.push((x, y));
            }
            screen.paint(column, row, symbol.is_set(column, row));
        }
        // Version 5 has seven modules that belong to nothing.
        assert_eq!(unseen.len(), 7, "{unseen:?}");
        assert!(unseen.iter().all(|(x, _)| *x < 2), "{unseen:?}");
    }

    #[test]
    fn no_symbol_wrong_polarity_and_no_room_are_told_apart() {
        let mut screen = Screen::showing(&payload(b"hello"));
        screen.pixels.iter_mut().for_each(|byte| *byte = 150 - *byte);
        assert_eq!(screen.read(), Err(ReadError::Pattern { row: 0 }));
        screen.pixels.fill(0);
        assert_eq!(screen.read(), Err(ReadError::Pattern { row: 0 }));
        let tiny = Frame::new(64, 64, 256, &[0; 64 * 256]).unwrap();
        assert_eq!(read(tiny), Err(ReadError::NoRoom { width: 64, height: 64 }));
    }

    #[test]
    fn a_half_painted_symbol_is_an_error() {
        let old = Symbol::encode(&payload(b"the frame before"));
        let mut screen = Screen::showing(&payload(b"the frame after!"));
        for y in 0..SYMBOL_MODULES / 2 {
            for x in 0..SYMBOL_MODULES {
                screen.paint(x, y, old.is_set(x, y));
            }
        }
        let error = screen.read().unwrap_err();
        assert!(matches!(error, ReadError::Corrupt | ReadError::Format), "{error:?}");
    }

    proptest! {
        #[test]
        fn any_payload_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..=MAX_PAYLOAD)) {
            let payload = payload(&bytes);
            prop_assert_eq!(Screen::showing(&payload).read(), Ok(payload));
        }

        #[test]
        fn no_codewords_make_it_panic(data in proptest::collection::vec(any::<u8>(), DATA_CODEWORDS)) {
            let wanted = data[0] >> 4 == BYTE_MODE && (data[0] << 4 | data[1] >> 4) <= 106;
            prop_assert_eq!(parse_segment(&data).is_ok(), wanted);
        }

        #[test]
        fn no_modules_make_it_panic(rows: [u64; SIDE]) {
            let mut screen = Screen::showing(&payload(b"x"));
            for (y, x) in (0..SYMBOL_MODULES).flat_map(|y| (0..SYMBOL_MODULES).map(move |x| (y, x))) {
                screen.paint(x, y, rows[y as usize] >> x & 1 == 1);
            }
            let is_refused = matches!(screen.read(), Err(ReadError::Pattern { .. }));
            prop_assert!(is_refused);
        }
    }
}
