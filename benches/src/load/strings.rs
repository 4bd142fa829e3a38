//! Strings: keys of 16 bytes, values of 100 that no compression makes much smaller.

use anyhow::Result;

use super::Pen;

/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 100;
/// Values are cut from a pool at chance places. It is larger than what compression looks back.
const POOL_BYTES: usize = 1 << 20;
/// The next key is this far from the one before; prime, so that every key has its turn.
const STRIDE: u64 = 7_919;

/// A source of values; the same one for each seed.
pub(crate) struct Values {
    pool: Vec<u8>,
    chance: fastrand::Rng,
}

/// Writes keys `0..count`, each once, in an order that is not theirs.
///
/// # Errors
/// If the connection breaks.
pub(crate) fn write(pen: &mut Pen, count: u64) -> Result<()> {
    let mut values = Values::new(1);
    for n in 0..count {
        pen.put(&[b"SET", &key(n * STRIDE % count), values.next(VALUE_BYTES)])?;
    }
    Ok(())
}

/// The name of key `n`, 16 bytes.
pub(crate) fn key(n: u64) -> [u8; 16] {
    named(*b"str:", n)
}

/// A name of 16 bytes: what it is, and its number.
pub(crate) fn named(what: [u8; 4], mut n: u64) -> [u8; 16] {
    let mut name = *b"0000000000000000";
    for digit in name.iter_mut().rev() {
        *digit = b'0' + u8::try_from(n % 10).expect("a digit");
        n /= 10;
    }
    for (place, byte) in name.iter_mut().zip(what) {
        *place = byte;
    }
    name
}

// === impl Values ===

impl Values {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let pool = std::iter::repeat_with(|| {
            u8::try_from(chance.alphanumeric()).expect("an ASCII character")
        });
        Self { pool: pool.take(POOL_BYTES).collect(), chance }
    }

    /// The next value.
    pub(crate) fn next(&mut self, bytes: usize) -> &[u8] {
        let start = self.chance.usize(..POOL_BYTES - bytes);
        self.pool.get(start..start + bytes).expect("a place in the pool")
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.chance.u64(..limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_turn_and_its_length() {
        let mut seen: Vec<u64> = (0..1000).map(|n| n * STRIDE % 1000).collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..1000));
        assert_eq!(&key(42), b"str:000000000042");
    }

    #[test]
    fn values_of_a_seed_are_the_same_and_not_equal_to_each_other() {
        let (mut one, mut other) = (Values::new(7), Values::new(7));
        let first = one.next(VALUE_BYTES).to_vec();
        assert_eq!(first, other.next(VALUE_BYTES));
        assert_ne!(first, one.next(VALUE_BYTES));
    }
}
