//! CRC-64 with the Jones polynomial, as RDB files and DUMP payloads end with it: reflected in and
//! out, initial value 0, no final xor. Slicing by eight: eight bytes per step, no `unsafe`.

/// The polynomial 0xad93d23594c935a9, bits reversed because the CRC is reflected.
const POLYNOMIAL_REFLECTED: u64 = 0x95ac_9329_ac4b_c9b5;

/// Bytes taken in one step; one table each.
const SLICES: usize = 8;

static TABLES: [[u64; 256]; SLICES] = tables();

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
        let mut crc = self.0;
        for step in steps {
            crc = fold((crc ^ u64::from_le_bytes(*step)).to_le_bytes());
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

/// Eight bytes at once: the first is seven steps from the end of the word, the last none.
#[inline]
fn fold([a, b, c, d, e, f, g, h]: [u8; SLICES]) -> u64 {
    let near = lookup(7, a) ^ lookup(6, b) ^ lookup(5, c) ^ lookup(4, d);
    near ^ lookup(3, e) ^ lookup(2, f) ^ lookup(1, g) ^ lookup(0, h)
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
const fn tables() -> [[u64; 256]; SLICES] {
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
            let before = tables[slice - 1][byte];
            tables[slice][byte] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            byte += 1;
        }
        slice += 1;
    }
    tables
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
