//! CRC-64 with the Jones polynomial, as RDB files and DUMP payloads end with it: reflected in and
//! out, initial value 0, no final xor. Eight bytes a step by tables, and over long runs four such
//! chains side by side, because one chain waits for its own loads; no `unsafe`.

/// The polynomial 0xad93d23594c935a9, bits reversed because the CRC is reflected.
const POLYNOMIAL_REFLECTED: u64 = 0x95ac_9329_ac4b_c9b5;

/// Bytes taken in one step; one table each.
const SLICES: usize = 8;

/// Chains side by side: with more, the loads themselves are the limit.
const LANES: usize = 4;

/// Steps of a chain before the chains are joined, which costs about as much as eight steps.
const LANE_STEPS: usize = 128;

/// What a byte becomes while the rest of its step passes.
static TABLES: [[u64; 256]; SLICES] = step_tables();

/// What a byte of a checksum becomes while a whole lane of zeros passes.
static LANE_TABLES: [[u64; 256]; SLICES] = lane_tables();

/// A running checksum; `Crc64::default()` is that of no bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crc64(u64);

/// The checksum of `bytes`.
#[must_use]
pub fn crc64(bytes: &[u8]) -> u64 {
    let mut crc = Crc64::default();
    crc.update(bytes);
    crc.value()
}

// === impl Crc64 ===

impl Crc64 {
    /// Continues the checksum over `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        let (steps, rest) = bytes.as_chunks::<SLICES>();
        let (rows, steps) = steps.as_chunks::<{ LANES * LANE_STEPS }>();
        let mut crc = self.0;
        for row in rows {
            crc = side_by_side(crc, row);
        }
        for step in steps {
            crc = fold(crc, step);
        }
        for byte in rest {
            let [low, ..] = crc.to_le_bytes();
            crc = lookup(0, low ^ byte) ^ (crc >> 8);
        }
        self.0 = crc;
    }

    /// The checksum so far.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }
}

/// Four lanes at once: the first goes on from `crc`, the others begin anew and are joined to it.
fn side_by_side(crc: u64, row: &[[u8; SLICES]; LANES * LANE_STEPS]) -> u64 {
    let (lanes, _) = row.as_chunks::<LANE_STEPS>();
    let [first, second, third, fourth] = lanes else { return crc };
    let (mut a, mut b, mut c, mut d) = (crc, 0, 0, 0);
    for (((one, two), three), four) in first.iter().zip(second).zip(third).zip(fourth) {
        a = fold(a, one);
        b = fold(b, two);
        c = fold(c, three);
        d = fold(d, four);
    }
    pass_lane(pass_lane(pass_lane(a) ^ b) ^ c) ^ d
}

/// Eight bytes: the first is seven steps from the end of the word, the last none.
#[inline]
fn fold(crc: u64, step: &[u8; SLICES]) -> u64 {
    let [a, b, c, d, e, f, g, h] = (crc ^ u64::from_le_bytes(*step)).to_le_bytes();
    let near = lookup(7, a) ^ lookup(6, b) ^ lookup(5, c) ^ lookup(4, d);
    near ^ lookup(3, e) ^ lookup(2, f) ^ lookup(1, g) ^ lookup(0, h)
}

/// The checksum after a lane of zeros.
fn pass_lane(crc: u64) -> u64 {
    let passed = crc.to_le_bytes().into_iter().zip(&LANE_TABLES);
    passed.fold(0, |all, (byte, table)| all ^ table.get(usize::from(byte)).unwrap_or(&0))
}

#[inline]
#[expect(
    clippy::indexing_slicing,
    reason = "every slice is a literal below 8 and a byte indexes 256 entries"
)]
fn lookup(slice: usize, byte: u8) -> u64 {
    TABLES[slice][usize::from(byte)]
}

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler: an index out of range does not build"
)]
const fn step_tables() -> [[u64; 256]; SLICES] {
    let mut tables = [[0; 256]; SLICES];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL_REFLECTED } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut slice = 1;
    while slice < SLICES {
        let mut byte = 0;
        while byte < 256 {
            tables[slice][byte] = pass_zero(&tables[0], tables[slice - 1][byte]);
            byte += 1;
        }
        slice += 1;
    }
    tables
}

/// A checksum is linear in its bits: what becomes of each bit gives what becomes of each byte.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler: an index out of range does not build"
)]
const fn lane_tables() -> [[u64; 256]; SLICES] {
    let bytes = step_tables()[0];
    let mut tables = [[0; 256]; SLICES];
    let mut bit = 0;
    while bit < 64 {
        let mut crc = 1 << bit;
        let mut zeros = 0;
        while zeros < LANE_STEPS * SLICES {
            crc = pass_zero(&bytes, crc);
            zeros += 1;
        }
        let mut byte = 0;
        while byte < 256 {
            if byte >> (bit % 8) & 1 == 1 {
                tables[bit / 8][byte] ^= crc;
            }
            byte += 1;
        }
        bit += 1;
    }
    tables
}

/// The checksum after one more zero byte.
#[expect(clippy::indexing_slicing, reason = "masked to the size of the table")]
const fn pass_zero(bytes: &[u64; 256], crc: u64) -> u64 {
    bytes[(crc & 0xff) as usize] ^ (crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::{Crc64, crc64};

    #[test]
    fn has_the_published_check_value() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn of_nothing_is_zero() {
        assert_eq!(crc64(b""), 0);
    }

    #[test]
    fn of_a_long_run_is_that_of_its_bytes() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n * n).to_le_bytes()[1]).collect();
        let mut one_by_one = Crc64::default();
        bytes.iter().for_each(|byte| one_by_one.update(&[*byte]));
        assert_eq!(crc64(&bytes), one_by_one.value());
    }

    #[test]
    fn does_not_depend_on_how_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let whole = crc64(&bytes);
        for cut in 0..bytes.len() {
            let (left, right) = bytes.split_at(cut);
            let mut crc = Crc64::default();
            crc.update(left);
            crc.update(right);
            assert_eq!(crc.value(), whole, "cut at {cut}");
        }
    }
}
