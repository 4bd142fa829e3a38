//! Checkpoints to protobuf and back: [`crate::checkpoint::Checkpoint`], message `Checkpoint` of
//! `checkpoint.proto`.

use bytes::BytesMut;
use prost::Message as _;

use super::check;
use super::convert::{Convert, all, fitting, required};
use super::error::{DecodeError, EncodeError};
use super::sink::{Message, Sink};
use crate::checkpoint::{Applied, Checkpoint, Marker, Resync, Territory, Verdict};
use crate::{Position, SCHEMA_VERSION, Shard, schema};

/// Appends the encoding to `buf`, which is unchanged after an error.
pub fn encode(checkpoint: &Checkpoint, buf: &mut BytesMut) -> Result<(), EncodeError> {
    check::checkpoint(checkpoint)?;
    buf.reserve(checkpoint.size());
    checkpoint.write(buf);
    Ok(())
}

/// Decodes a checkpoint.
pub fn decode(bytes: &[u8]) -> Result<Checkpoint, DecodeError> {
    let proto = schema::Checkpoint::decode(bytes)
        .map_err(|reason| DecodeError::malformed("Checkpoint", reason))?;
    match proto.schema {
        0 => Err(DecodeError::Missing { name: "schema" }),
        1..=SCHEMA_VERSION => Checkpoint::convert(proto),
        found => Err(DecodeError::SchemaTooNew { found, known: SCHEMA_VERSION }),
    }
}

// === impl Checkpoint ===

impl Message for Checkpoint {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, SCHEMA_VERSION);
        out.bytes(2, self.stream.as_bytes());
        out.fixed64(3, self.incarnation);
        out.uint(4, self.first_partition);
        out.uint(5, self.last_partition);
        out.messages(6, &self.applied);
        out.packed(7, self.read_from.iter().copied());
        out.uint(8, self.owner_epoch);
        out.int(9, self.written_ms);
        out.messages(10, &self.resyncs);
        out.messages(11, &self.waits_at);
        out.messages(12, &self.begun_at);
        out.packed(13, self.territory.databases.iter().map(|db| u64::from(*db)));
        out.uint(14, self.territory.shared);
        out.messages(15, &self.marker);
    }
}

impl Convert<schema::Checkpoint> for Checkpoint {
    fn convert(proto: schema::Checkpoint) -> Result<Self, DecodeError> {
        let checkpoint = Self {
            stream: proto.stream,
            incarnation: proto.incarnation,
            first_partition: fitting("partition", proto.first_partition, u16::MAX)?,
            last_partition: fitting("partition", proto.last_partition, u16::MAX)?,
            applied: all(proto.applied)?,
            read_from: proto.read_from,
            owner_epoch: proto.owner_epoch,
            written_ms: proto.written_ms,
            resyncs: all(proto.resync)?,
            waits_at: proto.waits_at.map(Position::convert).transpose()?,
            begun_at: proto.begun_at.map(Position::convert).transpose()?,
            territory: Territory { databases: proto.databases, shared: proto.shared },
            marker: proto.marker.map(Marker::convert).transpose()?,
        };
        check::checkpoint(&checkpoint)?;
        Ok(checkpoint)
    }
}

// === impl Applied ===

impl Message for Applied {
    fn write(&self, out: &mut impl Sink) {
        out.message(1, &self.position);
        out.message(2, &self.judged);
    }
}

impl Convert<schema::Applied> for Applied {
    fn convert(proto: schema::Applied) -> Result<Self, DecodeError> {
        Ok(Self {
            position: required("position of Applied", proto.position)?,
            judged: required("judged of Applied", proto.judged)?,
        })
    }
}

// === impl Resync ===

impl Message for Resync {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.shard.0);
        out.uint(2, self.epoch);
        out.uint(3, self.sweep);
        out.uint(4, self.sweeping);
        out.uint(5, self.snapshot_id);
    }
}

impl Convert<schema::Resync> for Resync {
    fn convert(proto: schema::Resync) -> Result<Self, DecodeError> {
        let schema::Resync { shard, epoch, sweep, sweeping, snapshot_id } = proto;
        Ok(Self { shard: Shard(shard), epoch, sweep, sweeping, snapshot_id })
    }
}

// === impl Marker ===

impl Message for Marker {
    fn write(&self, out: &mut impl Sink) {
        let verdict = match self.verdict {
            Verdict::Applied => 1u32,
            Verdict::Skipped => 2,
            Verdict::Restored => 3,
        };
        out.bytes(1, self.origin.as_bytes());
        out.message(2, &self.position);
        out.message(3, &self.stamp);
        out.uint(4, verdict);
    }
}

impl Convert<schema::Marker> for Marker {
    fn convert(proto: schema::Marker) -> Result<Self, DecodeError> {
        Ok(Self {
            origin: proto.origin,
            position: required("position of Marker", proto.position)?,
            stamp: required("stamp of Marker", proto.stamp)?,
            verdict: Verdict::convert(proto.verdict)?,
        })
    }
}

impl Convert<i32> for Verdict {
    fn convert(value: i32) -> Result<Self, DecodeError> {
        use schema::marker::Verdict as Proto;
        match Proto::try_from(value) {
            Ok(Proto::Applied) => Ok(Self::Applied),
            Ok(Proto::Skipped) => Ok(Self::Skipped),
            Ok(Proto::Restored) => Ok(Self::Restored),
            Ok(Proto::Unspecified) | Err(_) => {
                Err(DecodeError::UnknownValue { name: "Verdict", value })
            }
        }
    }
}
