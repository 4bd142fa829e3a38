//! HyperLogLogs by meaning: the registers, whatever encoding holds them.
//!
//! A server converts the sparse form to the dense one at a size that its configuration sets, and
//! caches the count in the header; neither changes what the value means.

/// "HYLL", encoding, 3 unused bytes, 8 bytes of cached count.
const HEADER_BYTES: usize = 16;
const REGISTERS: usize = 16_384;
const REGISTER_BITS: usize = 6;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;

/// The registers of a HyperLogLog; none if the bytes are not a whole one.
pub(super) fn registers(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES)?;
    let encoding = *header.strip_prefix(b"HYLL")?.first()?;
    let registers = match encoding {
        DENSE => dense(body)?,
        SPARSE => sparse(body)?,
        _ => return None,
    };
    (registers.len() == REGISTERS).then_some(registers)
}

fn dense(body: &[u8]) -> Option<Vec<u8>> {
    let register = |n: usize| {
        let (byte, shift) = (n * REGISTER_BITS / 8, n * REGISTER_BITS % 8);
        let low = u16::from(*body.get(byte)?);
        // The last register ends with the last byte.
        let high = u16::from(body.get(byte + 1).copied().unwrap_or(0));
        u8::try_from(((high << 8 | low) >> shift) & 0x3f).ok()
    };
    (0..REGISTERS).map(register).collect()
}

/// Runs: `00nnnnnn` n+1 zeros; `01nnnnnn nnnnnnnn` n+1 zeros; `1vvvvvnn` n+1 times the value v+1.
fn sparse(body: &[u8]) -> Option<Vec<u8>> {
    let mut registers = Vec::with_capacity(REGISTERS);
    let mut rest = body.iter().copied();
    while let Some(code) = rest.next() {
        let (value, run) = match code >> 6 {
            0 => (0, usize::from(code & 0x3f) + 1),
            1 => (0, (usize::from(code & 0x3f) << 8 | usize::from(rest.next()?)) + 1),
            _ => ((code >> 2 & 0x1f) + 1, usize::from(code & 0x3) + 1),
        };
        registers.resize(registers.len() + run, value);
    }
    Some(registers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_and_a_dense_one_with_the_same_registers_are_equal() {
        let header = |encoding| [b"HYLL".as_slice(), &[encoding], &[0; 11]].concat();
        // 5 zeros, then two registers of 3, then zeros to the end.
        let after = 16_384 - 7;
        let zeros = u16::try_from(after - 1).unwrap() | 0x4000;
        let body = [vec![0b0000_0100, 0b1000_1001], zeros.to_be_bytes().to_vec()].concat();
        let sparse = [header(SPARSE), body].concat();
        let mut dense = [header(DENSE), vec![0; 12_288]].concat();
        // Registers 5 and 6 are the bits 30..36 and 36..42.
        dense[HEADER_BYTES + 3] = 3 << 6;
        dense[HEADER_BYTES + 4] = 3 << 4;
        assert_eq!(registers(&sparse).unwrap()[4..8], [0, 3, 3, 0]);
        assert_eq!(registers(&sparse), registers(&dense));
    }

    #[test]
    fn other_strings_are_none() {
        assert_eq!(registers(b"HYLL"), None);
        assert_eq!(registers(&[0; 12_304]), None);
    }
}
