//! Writing commands: RESP arrays of bulk strings into a buffer that is used again and again.
//!
//! The count of arguments always matches what follows it, because it is taken from the same
//! iterator; a wrong one would shift every later reply on the connection.

use bytes::{BufMut, Bytes, BytesMut};

/// Digits of `i64::MIN` with its sign.
const MAX_DECIMAL_BYTES: usize = 20;

/// Appends one command to `out`. Nothing is allocated while `out` has room.
pub fn write_command<I>(out: &mut BytesMut, args: I)
where
    I: IntoIterator<IntoIter: Clone>,
    I::Item: AsRef<[u8]>,
{
    let args = args.into_iter();
    write_count(out, args.clone().count());
    for argument in args {
        write_argument(out, argument.as_ref());
    }
}

/// Appends the beginning of a command of so many arguments, each of which follows.
pub fn write_count(out: &mut BytesMut, arguments: usize) {
    write_length(out, b'*', arguments);
}

/// Appends one argument.
pub fn write_argument(out: &mut BytesMut, argument: &[u8]) {
    write_argument_head(out, argument.len());
    out.reserve(argument.len() + 2);
    out.put_slice(argument);
    out.put_slice(b"\r\n");
}

/// Appends what comes before an argument of so many bytes; the bytes and a line end follow.
pub fn write_argument_head(out: &mut BytesMut, bytes: usize) {
    write_length(out, b'$', bytes);
}

fn write_length(out: &mut BytesMut, marker: u8, length: usize) {
    let digits = Decimal::from(length as u64);
    out.reserve(MAX_DECIMAL_BYTES + 3);
    out.put_u8(marker);
    out.put_slice(digits.as_ref());
    out.put_slice(b"\r\n");
}

/// Commands on their way to a connection, with their number, so that as many replies can be
/// awaited.
#[derive(Debug, Default)]
pub struct CommandWriter {
    buffer: BytesMut,
    commands: usize,
}

/// A number in decimal, on the stack.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    digits: [u8; MAX_DECIMAL_BYTES],
    start: u8,
}

// === impl CommandWriter ===

impl CommandWriter {
    /// An empty writer with room for `capacity_bytes`.
    #[must_use]
    pub fn with_capacity(capacity_bytes: usize) -> Self {
        Self { buffer: BytesMut::with_capacity(capacity_bytes), commands: 0 }
    }

    /// Appends one command.
    pub fn command<I>(&mut self, args: I)
    where
        I: IntoIterator<IntoIter: Clone>,
        I::Item: AsRef<[u8]>,
    {
        write_command(&mut self.buffer, args);
        self.commands += 1;
    }

    /// Commands since the last [`take`](Self::take): the number of replies to expect.
    #[must_use]
    pub fn commands(&self) -> usize {
        self.commands
    }

    /// Bytes since the last [`take`](Self::take).
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing was written since the last [`take`](Self::take).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The bytes written, for the socket; the writer is empty again. The memory comes back to it
    /// once the bytes are dropped.
    #[must_use]
    pub fn take(&mut self) -> Bytes {
        self.commands = 0;
        self.buffer.split().freeze()
    }
}

// === impl Decimal ===

impl From<u64> for Decimal {
    fn from(value: u64) -> Self {
        Self::new(value, false)
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self::new(value.unsigned_abs(), value < 0)
    }
}

impl Decimal {
    fn new(mut rest: u64, negative: bool) -> Self {
        let mut digits = [0; MAX_DECIMAL_BYTES];
        let mut start = MAX_DECIMAL_BYTES;
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789".get((rest % 10) as usize).copied().unwrap_or_default();
            start -= 1;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if negative {
            start = start.saturating_sub(1);
            if let Some(sign) = digits.get_mut(start) {
                *sign = b'-';
            }
        }
        Self { digits, start: u8::try_from(start).unwrap_or_default() }
    }

    /// The number as owned bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_ref())
    }
}

impl AsRef<[u8]> for Decimal {
    fn as_ref(&self) -> &[u8] {
        self.digits.get(usize::from(self.start)..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_an_array_of_bulk_strings() {
        let mut writer = CommandWriter::with_capacity(64);
        writer.command(["SET", "k", ""]);
        writer.command([b"INCRBY".as_slice(), b"n", Decimal::from(-12_i64).as_ref()]);
        assert_eq!(writer.commands(), 2);
        assert_eq!(
            writer.take(),
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*3\r\n$6\r\nINCRBY\r\n$1\r\nn\r\n$3\r\n-12\r\n"
        );
        assert!(writer.is_empty() && writer.commands() == 0);
    }

    #[test]
    fn counts_the_arguments_of_a_chain() {
        let mut out = BytesMut::new();
        let elements = [b"a".as_slice(), b"b"];
        write_command(&mut out, [b"RPUSH".as_slice(), b"l"].iter().chain(&elements));
        assert_eq!(out, "*4\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n$1\r\na\r\n$1\r\nb\r\n");
    }

    #[test]
    fn uses_its_memory_again_once_the_bytes_are_gone() {
        let mut writer = CommandWriter::with_capacity(256);
        writer.command(["PING"]);
        let first = writer.take().as_ptr() as usize;
        for _ in 0..1000 {
            writer.command(["PING"]);
            let place = writer.take().as_ptr() as usize;
            assert!((first..first + 256).contains(&place));
        }
    }

    proptest! {
        #[test]
        fn writes_integers_as_the_standard_library_does(signed: i64, unsigned: u64) {
            let text = |decimal: Decimal| String::from_utf8(decimal.as_ref().to_vec());
            prop_assert_eq!(text(Decimal::from(signed)), Ok(signed.to_string()));
            prop_assert_eq!(text(Decimal::from(unsigned)), Ok(unsigned.to_string()));
        }
    }

    #[test]
    fn writes_the_extremes() {
        assert_eq!(Decimal::from(i64::MIN).as_ref(), b"-9223372036854775808");
        assert_eq!(Decimal::from(u64::MAX).as_ref(), b"18446744073709551615");
        assert_eq!(Decimal::from(0_i64).as_ref(), b"0");
    }
}
