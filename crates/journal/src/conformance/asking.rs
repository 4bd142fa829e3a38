//! Requests to the stream's writer.

use std::time::Duration;

use bytes::Bytes;

use super::Backend;
use super::stage::{Stage, within};
use crate::{Journal, Listener, MAX_REQUEST_BYTES};

/// Who listens hears what is posted while it does, once and in order; the stream is not touched by it.
pub async fn requests_are_heard_by_who_listens(backend: &dyn Backend) {
    let stage = Stage::new(backend, 1).await;
    let before = stage.journal.describe().await.expect("it describes");
    let mut listener = listen(&*stage.journal).await;
    post(&*stage.journal, "one").await;
    assert_eq!(next(&mut *listener).await, "one");
    for text in ["two", "", "four"] {
        post(&*stage.journal, text).await;
    }
    let (two, nothing, four) =
        (next(&mut *listener).await, next(&mut *listener).await, next(&mut *listener).await);
    assert_eq!([two, nothing, four], ["two", "", "four"]);
    assert_eq!(stage.journal.describe().await.expect("it describes"), before);
}

/// Nobody answers what was asked before it listened.
pub async fn requests_are_not_kept_for_who_comes_later(backend: &dyn Backend) {
    let stage = Stage::new(backend, 1).await;
    drop(listen(&*stage.journal).await);
    post(&*stage.journal, "too early").await;
    let mut listener = listen(&*stage.journal).await;
    post(&*stage.journal, "in time").await;
    assert_eq!(next(&mut *listener).await, "in time");
}

/// A wait for a request that is given up loses none.
pub async fn a_dropped_wait_for_requests_loses_none(backend: &dyn Backend) {
    let stage = Stage::new(backend, 1).await;
    let mut listener = listen(&*stage.journal).await;
    let mut heard = Vec::new();
    for number in 0..10 {
        post(&*stage.journal, &number.to_string()).await;
        for _ in 0..20 {
            if let Ok(request) = tokio::time::timeout(Duration::ZERO, listener.next()).await {
                heard.push(request.expect("a request"));
            }
            tokio::task::yield_now().await;
        }
    }
    while heard.len() < 10 {
        heard.push(next(&mut *listener).await);
    }
    assert_eq!(heard, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// The bound is that of the contract.
pub async fn a_request_that_is_too_large_is_refused(backend: &dyn Backend) {
    let stage = Stage::new(backend, 1).await;
    let mut listener = listen(&*stage.journal).await;
    let mailbox = stage.journal.mailbox();
    let large = |bytes: usize| Bytes::from(vec![b'x'; bytes]);
    let refused = within("post", mailbox.post(large(MAX_REQUEST_BYTES + 1))).await;
    let text = refused.expect_err("it is too large").to_string();
    assert!(text.contains(&MAX_REQUEST_BYTES.to_string()), "{text}");
    within("post", mailbox.post(large(MAX_REQUEST_BYTES))).await.expect("it fits");
    assert_eq!(next(&mut *listener).await.len(), MAX_REQUEST_BYTES);
}

async fn listen(journal: &dyn Journal) -> Box<dyn Listener> {
    within("listen", journal.mailbox().listen()).await.expect("it listens")
}

async fn post(journal: &dyn Journal, text: &str) {
    let request = Bytes::copy_from_slice(text.as_bytes());
    within("post", journal.mailbox().post(request)).await.expect("it is posted");
}

async fn next(listener: &mut dyn Listener) -> Bytes {
    within("a request", listener.next()).await.expect("a request")
}
