//! The contract as tests that every backend passes.
//!
//! A backend implements [`Backend`] and expands [`conformance_tests!`](crate::conformance_tests)
//! in a test module: each case becomes a test of its own. The cases ask for nothing that the
//! contract does not promise: offsets may have gaps, durability may lag, and only a stream that
//! describes itself as totally ordered has to be. They panic when the contract is broken.

mod acceptance;
mod asking;
mod keeping;
mod order;
mod random;
mod reading;
mod stage;

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::Journal;

pub use acceptance::{
    a_batch_with_a_record_too_large_is_refused_whole, a_member_alone_has_all_partitions,
    a_new_appender_counts_from_zero, a_partition_that_does_not_exist_is_refused,
    a_second_appender_never_interleaves, an_empty_batch_changes_nothing,
    receipts_count_records_and_durability_reaches_them,
    records_of_no_bytes_and_of_the_limit_are_kept, the_description_follows_the_stream,
    writers_side_by_side_leave_one_another_alone,
};
pub use asking::{
    a_dropped_wait_for_requests_loses_none, a_request_that_is_too_large_is_refused,
    requests_are_heard_by_who_listens, requests_are_not_kept_for_who_comes_later,
};
pub use keeping::{
    a_named_reader_is_remembered_until_forgotten, reopening_keeps_everything,
    trimmed_offsets_are_out_of_retention, what_is_not_trimmed_stays,
};
pub use order::{
    a_partition_is_read_as_it_was_written, a_reader_sees_only_what_it_asked_for,
    a_total_order_is_kept_where_it_is_claimed,
};
pub use random::random_histories_are_read_back;
pub use reading::{
    a_dropped_read_loses_nothing, a_reader_at_the_end_waits_for_what_comes,
    a_reader_beyond_the_end_waits_for_its_offset, limits_are_kept,
    readers_do_not_disturb_each_other, readers_follow_the_tail, reading_starts_at_any_offset,
    time_is_looked_up, what_is_held_comes_on_where_it_was,
};

/// How the cases get streams of one backend.
///
/// Streams have to be small-grained: of one mebibyte of records, [`Journal::trim`] must be able
/// to forget a part.
pub trait Backend: Send + Sync {
    /// Makes a new, empty stream.
    fn create(&self, partitions: u16) -> BoxFuture<'_, Arc<dyn Journal>>;

    /// Gives up this handle, the last one, and opens the same stream as a new process would.
    fn reopen(&self, journal: Arc<dyn Journal>) -> BoxFuture<'_, Arc<dyn Journal>>;
}

/// Expands to one test per case of the contract. The expression makes a [`Backend`] for each.
#[macro_export]
macro_rules! conformance_tests {
    ($backend:expr) => {
        $crate::conformance_tests! {
            $backend;
            a_partition_is_read_as_it_was_written
            a_total_order_is_kept_where_it_is_claimed
            a_reader_sees_only_what_it_asked_for
            receipts_count_records_and_durability_reaches_them
            an_empty_batch_changes_nothing
            the_description_follows_the_stream
            records_of_no_bytes_and_of_the_limit_are_kept
            a_batch_with_a_record_too_large_is_refused_whole
            a_partition_that_does_not_exist_is_refused
            a_second_appender_never_interleaves
            writers_side_by_side_leave_one_another_alone
            a_new_appender_counts_from_zero
            a_member_alone_has_all_partitions
            reading_starts_at_any_offset
            a_reader_at_the_end_waits_for_what_comes
            a_reader_beyond_the_end_waits_for_its_offset
            readers_follow_the_tail
            readers_do_not_disturb_each_other
            limits_are_kept
            a_dropped_read_loses_nothing
            what_is_held_comes_on_where_it_was
            time_is_looked_up
            reopening_keeps_everything
            trimmed_offsets_are_out_of_retention
            what_is_not_trimmed_stays
            a_named_reader_is_remembered_until_forgotten
            random_histories_are_read_back
            requests_are_heard_by_who_listens
            requests_are_not_kept_for_who_comes_later
            a_dropped_wait_for_requests_loses_none
            a_request_that_is_too_large_is_refused
        }
    };
    ($backend:expr; $($case:ident)+) => {
        $(
            #[tokio::test]
            async fn $case() {
                let backend = $backend;
                $crate::conformance::$case(&backend).await;
            }
        )+
    };
}
