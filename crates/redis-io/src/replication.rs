//! Being a replica: the handshake, the full transfer, the stream, the acknowledgements.
//!
//! ```text
//! Connection ──session::open──► Answer + Link ──► chunks of raw bytes ──► Transfer ──► events
//!                                        └──◄── ack(offset) each second
//! ```
//! Guarantees: only capabilities are announced whose wire format [`transfer`] reads (`eof`,
//! `psync2`); no listening port is announced, so nobody takes us for a server; keepalives are
//! never counted as stream. `SYNC`, which gives no position to resume from, is not used.
//!
//! Left to the caller: reading without pause, acknowledging each second (see
//! [`link::LinkWriter::ack`]), counting offsets, and how long silence may last.

mod id;
pub mod link;
pub mod session;
pub mod transfer;

pub use id::{BadReplicationId, ReplicationId};
pub use link::{Link, LinkReader, LinkWriter};
pub use session::{Announcement, Answer, Resume, open};
pub use transfer::{Event, SnapshotSize, Transfer, TransferError};
