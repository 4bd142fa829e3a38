//! Every metric. The documentation of metrics is held to this table by a test.

use super::{Metric, Shape};

const fn metric(
    name: &'static str,
    path: &'static str,
    shape: Shape,
    help: &'static str,
) -> Metric {
    Metric { name, path, shape, help }
}

const fn counter(name: &'static str, path: &'static str, help: &'static str) -> Metric {
    metric(name, path, Shape::Counter, help)
}

const fn gauge(name: &'static str, path: &'static str, help: &'static str) -> Metric {
    metric(name, path, Shape::Gauge, help)
}

const STATES: Shape = Shape::State(&["starting", "running", "stopping", "stopped"]);
const CAPTURE_PHASES: Shape =
    Shape::State(&["connecting", "waiting", "snapshot", "stream", "stopped"]);
const APPLY_PHASES: Shape =
    Shape::State(&["starting", "snapshot", "sweep", "stream", "waiting", "stopped"]);

/// Every metric, in the order of the text.
pub const TABLE: &[Metric] = &[
    metric("keyferry_info", "version", Shape::Info, "The version of keyferry: always 1."),
    metric("keyferry_stream_info", "stream", Shape::Info, "The stream that is carried: always 1."),
    metric("keyferry_state", "state", STATES, "What the process does."),
    gauge("keyferry_ready", "ready", "Whether /readyz says that it works."),
    metric(
        "keyferry_start_time_seconds",
        "process/started_at_ms",
        Shape::Seconds,
        "When the process started, Unix time.",
    ),
    metric("keyferry_capture_phase", "capture/phase", CAPTURE_PHASES, "What the link does."),
    counter(
        "keyferry_capture_records_total",
        "capture/records",
        "Records that were written to the journal.",
    ),
    counter(
        "keyferry_capture_record_bytes_total",
        "capture/record_bytes",
        "Bytes of the records that were written to the journal.",
    ),
    counter(
        "keyferry_capture_skipped_events_total",
        "capture/skipped_events",
        "Events that the journal already held.",
    ),
    counter(
        "keyferry_capture_full_transfers_total",
        "capture/full_transfers",
        "Snapshots that were begun.",
    ),
    counter(
        "keyferry_capture_resyncs_total",
        "capture/resyncs",
        "Snapshots that were asked for since nothing else led on.",
    ),
    gauge(
        "keyferry_capture_offset_bytes",
        "capture/offset",
        "How far the source's stream has been recorded, as its replication offset.",
    ),
    gauge(
        "keyferry_capture_durable_offset_bytes",
        "capture/durable_offset",
        "How far the journal holds the source's stream for good, as its replication offset.",
    ),
    gauge(
        "keyferry_capture_snapshot_keys",
        "capture/snapshot_keys",
        "Keys of the last snapshot that were read.",
    ),
    gauge(
        "keyferry_capture_snapshot_keys_expected",
        "capture/snapshot_keys_expected",
        "Keys that the source said the last snapshot has; 0: it did not.",
    ),
    gauge(
        "keyferry_capture_snapshot_bytes",
        "capture/snapshot_bytes",
        "Bytes of the last snapshot that were read.",
    ),
    gauge(
        "keyferry_capture_snapshot_bytes_expected",
        "capture/snapshot_bytes_expected",
        "Bytes that the last snapshot has; 0: the source did not say.",
    ),
    counter(
        "keyferry_capture_on_demand_done_total",
        "capture/on_demand/done",
        "Snapshots beside the stream that were recorded.",
    ),
    counter(
        "keyferry_capture_on_demand_given_up_total",
        "capture/on_demand/given_up",
        "Snapshots beside the stream that were given up and begun anew.",
    ),
    gauge(
        "keyferry_capture_on_demand_keys",
        "capture/on_demand/keys",
        "Keys of the last snapshot beside the stream that were recorded.",
    ),
    gauge(
        "keyferry_capture_on_demand_keys_expected",
        "capture/on_demand/keys_expected",
        "Keys that the source said the last snapshot beside the stream has.",
    ),
    gauge(
        "keyferry_capture_on_demand_bytes",
        "capture/on_demand/bytes",
        "Bytes of the last snapshot beside the stream that were recorded.",
    ),
    gauge(
        "keyferry_capture_on_demand_bytes_expected",
        "capture/on_demand/bytes_expected",
        "Bytes that the last snapshot beside the stream has; 0: the source did not say.",
    ),
    gauge(
        "keyferry_capture_partition_offset_bytes",
        "capture/partitions/{partition}/source_offset",
        "How far the source's stream has been recorded in a partition, as its replication offset.",
    ),
    gauge(
        "keyferry_capture_journal_end",
        "capture/partitions/{partition}/journal_end",
        "The offset that the next record of a partition will have.",
    ),
    gauge(
        "keyferry_capture_spool_memory_bytes",
        "capture/spool_memory_bytes",
        "What the source has sent and is not recorded, in memory.",
    ),
    gauge(
        "keyferry_capture_spool_disk_bytes",
        "capture/spool_disk_bytes",
        "What the source has sent and is not recorded, in files.",
    ),
    metric("keyferry_apply_phase", "apply/{partition}/phase", APPLY_PHASES, "What a lane does."),
    counter("keyferry_apply_events_total", "apply/{partition}/events", "Events that were applied."),
    counter(
        "keyferry_apply_commands_total",
        "apply/{partition}/commands",
        "Commands that were sent to the destination.",
    ),
    counter(
        "keyferry_apply_sent_bytes_total",
        "apply/{partition}/sent_bytes",
        "Bytes that were sent to the destination.",
    ),
    counter(
        "keyferry_apply_batches_total",
        "apply/{partition}/batches",
        "Atomic steps that were executed.",
    ),
    gauge(
        "keyferry_apply_lag_events",
        "apply/{_}/partitions/{partition}/lag_events",
        "Events of the journal that were not applied yet.",
    ),
    gauge(
        "keyferry_apply_lag_bytes",
        "apply/{_}/partitions/{partition}/lag_bytes",
        "About how many bytes these events are, by the mean size of those that were read last.",
    ),
    gauge(
        "keyferry_apply_lag_seconds",
        "apply/{_}/partitions/{partition}/lag_seconds",
        "Age of the last event that was read, where some were not applied yet; else 0.",
    ),
    gauge(
        "keyferry_apply_partition_offset_bytes",
        "apply/{_}/partitions/{partition}/source_offset",
        "How far the source's stream has been applied of a partition, as its replication offset.",
    ),
    gauge(
        "keyferry_apply_applied_offset",
        "apply/{_}/partitions/{partition}/applied_offset",
        "The offset of the next record of a partition to apply.",
    ),
    gauge(
        "keyferry_apply_journal_end",
        "apply/{_}/partitions/{partition}/journal_end",
        "The offset that the next record of a partition will have.",
    ),
    gauge(
        "keyferry_apply_waits",
        "apply/{_}/partitions/{partition}/waits",
        "Whether a partition waits for others at a change that concerns them, too.",
    ),
    gauge(
        "keyferry_apply_quarantined_keys",
        "apply/{partition}/quarantined_keys",
        "Keys that are set aside.",
    ),
    gauge(
        "keyferry_apply_suspect_keys",
        "apply/{partition}/suspect_keys",
        "Keys of which nobody knows whether their last change was executed.",
    ),
    counter(
        "keyferry_apply_dead_letters_total",
        "apply/{partition}/dead_letters",
        "Changes that were set aside.",
    ),
    counter(
        "keyferry_apply_dropped_changes_total",
        "apply/{partition}/dropped_changes/{reason}",
        "Changes that were left out since the destination cannot hold them.",
    ),
    counter(
        "keyferry_apply_filtered_changes_total",
        "apply/{partition}/filtered_changes",
        "Changes that the filters left out.",
    ),
    counter(
        "keyferry_apply_repeated_events_total",
        "apply/{partition}/repeated_events",
        "Events that were read again and left out, since they had been applied.",
    ),
    counter(
        "keyferry_apply_removed_keys_total",
        "apply/{partition}/removed_keys",
        "Keys that a sweep removed, or that lost their value early.",
    ),
    gauge(
        "keyferry_apply_expiry_held",
        "apply/{partition}/expiry_held",
        "Deadlines that are put off while catching up.",
    ),
    counter(
        "keyferry_apply_expiry_settled_total",
        "apply/{partition}/expiry_settled",
        "Deadlines that were put off and have become those of the source.",
    ),
    counter(
        "keyferry_apply_expiry_left_out_total",
        "apply/{partition}/expiry_left_out",
        "Deadlines that were put off and stay so until the source deletes the key.",
    ),
    counter(
        "keyferry_apply_late_renewals_total",
        "apply/{partition}/late_renewals",
        "Changes of deadlines that came after their keys were gone.",
    ),
    gauge("keyferry_paused", "throttle/{side}/paused", "Whether this side is paused by an order."),
    gauge(
        "keyferry_throttle_full_rows_per_second",
        "throttle/{side}/full_rows",
        "Limit for rows of a snapshot; 0: none.",
    ),
    gauge(
        "keyferry_throttle_full_bytes_per_second",
        "throttle/{side}/full_bytes",
        "Limit for bytes of a snapshot; 0: none.",
    ),
    gauge(
        "keyferry_throttle_source_read_bytes_per_second",
        "throttle/{side}/source_read_bytes",
        "Limit for reading a snapshot from the source; 0: none.",
    ),
    gauge(
        "keyferry_throttle_incremental_rows_per_second",
        "throttle/{side}/incremental_rows",
        "Limit for rows of the stream; 0: none.",
    ),
    gauge(
        "keyferry_throttle_incremental_bytes_per_second",
        "throttle/{side}/incremental_bytes",
        "Limit for bytes of the stream; 0: none.",
    ),
];
