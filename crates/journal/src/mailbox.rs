//! What those who read a stream ask of whoever writes it. The journal does not know what a request means.

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{AppendError, ReadError};

/// The largest request. They are a few words; this bounds what a stranger can make a writer hold.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// Where requests are put, by anybody who may write there: no writer's lease is needed. Requests are no part of the
/// stream: who listens hears those that are posted while it does, once each, in the order of their places, and
/// nothing keeps them for those who come later. So whoever still wants something asks again now and then.
pub trait Mailbox: Send + Sync {
    /// Puts a request there; durable when it returns. Refused if it is larger than [`MAX_REQUEST_BYTES`].
    fn post(&self, request: Bytes) -> BoxFuture<'_, Result<(), AppendError>>;

    /// Hears what is posted from now on. One listens at a time: the stream's writer.
    fn listen(&self) -> BoxFuture<'_, Result<Box<dyn Listener>, ReadError>>;
}

/// Hears requests.
pub trait Listener: Send {
    /// The next request; waits for it. Cancel-safe. What is no request of ours is passed over with a warning.
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes, ReadError>>;
}

/// Refuses what is too large.
pub(crate) fn check(request: &Bytes) -> Result<(), AppendError> {
    let bytes = request.len();
    match bytes <= MAX_REQUEST_BYTES {
        true => Ok(()),
        false => Err(AppendError::Failed(format!(
            "a request of {bytes} bytes exceeds the limit of {MAX_REQUEST_BYTES}"
        ))),
    }
}
