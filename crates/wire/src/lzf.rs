//! LZF decompression, whole or as the compressed bytes arrive. Any input is either decompressed to
//! exactly the promised length or refused; memory grows with the output made, never with a promise.

use bytes::Bytes;

/// The longest distance that a back reference can name: 13 bits plus one.
const WINDOW_BYTES: usize = 8192;

/// A three-byte instruction makes at most 264 bytes, so no valid input expands by more than this.
const EXPANSION_MAX: u64 = 88;

/// The compressed bytes do not decompress to what they promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// Decompression of one string in pieces: output is made on demand and taken in parts, and only
/// the window that later instructions may refer to is kept.
#[derive(Debug)]
pub(crate) struct Inflater {
    /// The window, then what was made since the last `take`.
    output: Vec<u8>,
    /// Where in `output` the untaken bytes begin.
    fresh: usize,
    /// Bytes still to be made.
    left: usize,
}

/// Whether any input of `compressed` bytes could make `plain` bytes.
pub(crate) fn plausible(compressed: u64, plain: u64) -> bool {
    plain <= compressed.saturating_mul(EXPANSION_MAX)
}

/// Decompresses the whole of `input` to exactly `plain` bytes.
pub(crate) fn decompress(input: &[u8], plain: usize) -> Result<Vec<u8>, Broken> {
    let mut output = Vec::with_capacity(plain.min(input.len().saturating_mul(4)));
    let mut rest = input;
    while !rest.is_empty() {
        let used = instruction(rest, &mut output)?.ok_or(Broken)?;
        if output.len() > plain {
            return Err(Broken);
        }
        rest = rest.get(used..).ok_or(Broken)?;
    }
    if output.len() == plain { Ok(output) } else { Err(Broken) }
}

// === impl Inflater ===

impl Inflater {
    /// For a string of `plain` bytes.
    pub(crate) fn new(plain: usize) -> Self {
        Self { output: Vec::new(), fresh: 0, left: plain }
    }

    /// Bytes made and not yet taken.
    pub(crate) fn ready(&self) -> usize {
        self.output.len() - self.fresh
    }

    /// Whether the whole string has been made.
    pub(crate) fn complete(&self) -> bool {
        self.left == 0
    }

    /// Follows whole instructions at the front of `input` until `wanted` bytes are ready or no
    /// whole instruction is left, and returns how many bytes of the input were used.
    pub(crate) fn run(&mut self, input: &[u8], wanted: usize) -> Result<usize, Broken> {
        let mut rest = input;
        while !self.complete() && self.ready() < wanted {
            let before = self.output.len();
            let Some(used) = instruction(rest, &mut self.output)? else { break };
            self.left = self.left.checked_sub(self.output.len() - before).ok_or(Broken)?;
            rest = rest.get(used..).ok_or(Broken)?;
        }
        Ok(input.len() - rest.len())
    }

    /// Takes at most `most` bytes of what is ready.
    pub(crate) fn take(&mut self, most: usize) -> Bytes {
        let end = self.output.len().min(self.fresh.saturating_add(most));
        let part = Bytes::copy_from_slice(self.output.get(self.fresh..end).unwrap_or_default());
        self.fresh = end;
        let dead = self.fresh.saturating_sub(WINDOW_BYTES);
        self.output.drain(..dead);
        self.fresh -= dead;
        part
    }
}

/// Follows the instruction at the front of `input`; `None` if it is not all there.
fn instruction(input: &[u8], output: &mut Vec<u8>) -> Result<Option<usize>, Broken> {
    let Some((&control, rest)) = input.split_first() else { return Ok(None) };
    let high = usize::from(control >> 5);
    if high == 0 {
        let literals = usize::from(control) + 1;
        let Some(bytes) = rest.get(..literals) else { return Ok(None) };
        output.extend_from_slice(bytes);
        return Ok(Some(1 + literals));
    }
    let (extra, low, used) = match (high, rest) {
        (7, [extra, low, ..]) => (usize::from(*extra), *low, 3),
        (1..=6, [low, ..]) => (0, *low, 2),
        _ => return Ok(None),
    };
    let distance = (usize::from(control & 31) << 8 | usize::from(low)) + 1;
    let start = output.len().checked_sub(distance).ok_or(Broken)?;
    repeat(output, start, high + extra + 2);
    Ok(Some(used))
}

/// Appends `length` bytes from `start` on, which may run into the bytes being appended.
fn repeat(output: &mut Vec<u8>, start: usize, length: usize) {
    let mut left = length;
    while left > 0 {
        // What lies between the start and the end repeats; each round doubles it.
        let step = left.min(output.len() - start);
        output.extend_from_within(start..start + step);
        left -= step;
    }
}

#[cfg(test)]
mod tests {
    use super::{Broken, Inflater, decompress, plausible};

    /// 40 bytes "a" and then "bc": one literal, one long reference to it, two literals.
    const RUN: [u8; 8] = [0x00, b'a', 0xe0, 30, 0x00, 0x01, b'b', b'c'];

    fn run_plain() -> Vec<u8> {
        let mut plain = vec![b'a'; 40];
        plain.extend_from_slice(b"bc");
        plain
    }

    #[test]
    fn decompresses_a_reference_that_overlaps_its_output() {
        assert_eq!(decompress(&RUN, 42), Ok(run_plain()));
    }

    #[test]
    fn refuses_another_length_than_the_promised() {
        assert_eq!(decompress(&RUN, 41), Err(Broken));
        assert_eq!(decompress(&RUN, 43), Err(Broken));
    }

    #[test]
    fn refuses_a_reference_before_the_beginning() {
        assert_eq!(decompress(&[0x00, b'a', 0x20, 0x01], 4), Err(Broken));
    }

    #[test]
    fn refuses_input_that_ends_inside_an_instruction() {
        for cut in [1, 3, 4, 6, 7] {
            assert_eq!(decompress(&RUN[..cut], 42), Err(Broken), "cut at {cut}");
        }
    }

    #[test]
    fn makes_the_same_output_in_pieces() {
        for most in 1..50 {
            let mut inflater = Inflater::new(42);
            let (mut output, mut used, mut seen) = (Vec::new(), 0, 0);
            while !(inflater.complete() && inflater.ready() == 0) {
                let n = inflater.run(&RUN[used..seen], most).unwrap();
                used += n;
                output.extend_from_slice(&inflater.take(most));
                seen = (seen + 1).min(RUN.len());
            }
            assert_eq!(output, run_plain(), "parts of {most}");
        }
    }

    #[test]
    fn keeps_only_the_window() {
        let mut inflater = Inflater::new(1 << 20);
        inflater.run(&[0x00, b'a'], 1).unwrap();
        for _ in 0..1000 {
            inflater.run(&[0xe0, 0xff, 0x00], 100_000).unwrap();
            let ready = inflater.ready();
            assert_eq!(inflater.take(ready).len(), ready);
            assert!(inflater.output.len() <= super::WINDOW_BYTES);
        }
    }

    #[test]
    fn knows_what_no_input_can_expand_to() {
        assert!(plausible(3, 264));
        assert!(!plausible(3, 265));
    }
}
