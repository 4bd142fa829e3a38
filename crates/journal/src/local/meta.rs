//! The `meta` file: what the stream is, and what its named readers have released.
//!
//! Guarantees: the file is replaced in one step, so that a crash leaves the old or the new one
//! whole; it is written only after the first segment exists, so a stream with a `meta` and without
//! segments has been damaged.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::disk::{Disk, write_all};
use super::fields::{Fields, put_count, put_text, put_u64s};
use super::format::{META_MAGIC, READERS_LIMIT, VERSION};
use crate::{Offset, Partition, ReaderProgress};

/// Its name in the directory.
pub(super) const FILE_NAME: &str = "meta";

/// The name under which the next one is prepared.
const NEXT_FILE_NAME: &str = "meta.next";

/// What each named reader still needs, per partition that it has named.
pub(super) type Releases = BTreeMap<String, BTreeMap<Partition, Offset>>;

/// What is known of a stream beside its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) stream: String,
    pub(super) incarnation: u64,
    pub(super) partitions: u16,
    pub(super) readers: Releases,
}

/// Why bytes are not a `meta` file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MetaDefect {
    /// They are cut off, or the checksum does not match.
    Damaged,
    /// Written by another version of the format.
    Version(u32),
}

// === impl Meta ===

impl Meta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&META_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        put_count(&mut out, usize::from(self.partitions));
        put_text(&mut out, &self.stream);
        put_count(&mut out, self.readers.len());
        for (name, releases) in &self.readers {
            put_text(&mut out, name);
            put_count(&mut out, releases.len());
            for (partition, offset) in releases {
                out.extend_from_slice(&partition.0.to_le_bytes());
                put_u64s(&mut out, &[offset.0]);
            }
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, MetaDefect> {
        let (signed, crc) = bytes.split_last_chunk::<4>().ok_or(MetaDefect::Damaged)?;
        let mut fields = Fields::new(signed);
        if fields.array() != Some(META_MAGIC) {
            return Err(MetaDefect::Damaged);
        }
        match fields.u32() {
            Some(VERSION) => {}
            Some(version) => return Err(MetaDefect::Version(version)),
            None => return Err(MetaDefect::Damaged),
        }
        if crc32c::crc32c(signed).to_le_bytes() != *crc {
            return Err(MetaDefect::Damaged);
        }
        let meta = Self::fields(&mut fields).filter(|_| fields.remaining() == 0);
        meta.ok_or(MetaDefect::Damaged)
    }

    fn fields(fields: &mut Fields<'_>) -> Option<Self> {
        let incarnation = fields.u64()?;
        let partitions = u16::try_from(fields.u32()?).ok()?;
        let stream = fields.text()?;
        let mut readers = Releases::new();
        for _ in 0..fields.count().filter(|count| *count <= READERS_LIMIT)? {
            let releases = readers.entry(fields.text()?).or_default();
            for _ in 0..fields.count()? {
                releases.insert(Partition(fields.u16()?), Offset(fields.u64()?));
            }
        }
        Some(Self { stream, incarnation, partitions, readers })
    }

    /// Replaces the file in `dir` in one step.
    pub(super) fn store(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let next = dir.join(NEXT_FILE_NAME);
        let file = disk.create(&next)?;
        write_all(&*file, &self.encode(), 0)?;
        file.sync()?;
        disk.rename(&next, &dir.join(FILE_NAME))?;
        disk.sync_dir(dir)
    }

    /// The readers as the journal describes them.
    pub(super) fn progress(&self) -> Vec<ReaderProgress> {
        let readers = self.readers.iter().map(|(name, releases)| ReaderProgress {
            name: name.clone(),
            released: releases.iter().map(|(partition, offset)| (*partition, *offset)).collect(),
        });
        readers.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_meta() -> impl Strategy<Value = Meta> {
        let releases = prop::collection::btree_map(any::<u16>(), any::<u64>(), 0..4)
            .prop_map(|all| all.into_iter().map(|(p, o)| (Partition(p), Offset(o))).collect());
        let readers = prop::collection::btree_map("[a-z]{0,9}", releases, 0..4);
        ("[a-z]{0,9}", any::<u64>(), any::<u16>(), readers).prop_map(
            |(stream, incarnation, partitions, readers)| Meta {
                stream,
                incarnation,
                partitions,
                readers,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read(meta in any_meta()) {
            prop_assert_eq!(Meta::parse(&meta.encode()), Ok(meta));
        }

        #[test]
        fn any_flipped_bit_is_noticed(meta in any_meta(), place: prop::sample::Index) {
            let mut bytes = meta.encode();
            let bit = place.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Meta::parse(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(mut bytes: Vec<u8>) {
            prop_assert!(Meta::parse(&bytes).is_err());
            // Past the checksum as well.
            bytes.splice(..0, META_MAGIC.into_iter().chain(VERSION.to_le_bytes()));
            let crc = crc32c::crc32c(&bytes);
            bytes.extend_from_slice(&crc.to_le_bytes());
            if let Ok(meta) = Meta::parse(&bytes) {
                prop_assert!(meta.readers.len() <= READERS_LIMIT);
            }
        }
    }

    #[test]
    fn a_later_version_is_named() {
        let meta = Meta {
            stream: "s".to_owned(),
            incarnation: 1,
            partitions: 1,
            readers: Releases::new(),
        };
        let mut bytes = meta.encode();
        bytes[8] = 9;
        assert_eq!(Meta::parse(&bytes), Err(MetaDefect::Version(9)));
    }
}
