//! What becomes of a tree, and whether the documentation names every metric.

use std::collections::BTreeSet;

use super::*;

fn tree() -> StatusNode {
    let root = StatusNode::root();
    root.set("state", "running");
    root.set("stream", "shop \"1\"\\\n");
    root.child("process").set("started_at_ms", Value::Timestamp(1_500));
    let apply = root.child("apply");
    apply.set("destination", "redis://h:1");
    for lane in ["partitions-0-15", "partition-16"] {
        let lane = apply.child(lane);
        lane.counter("events").add(3);
        lane.set("phase", "resting");
        lane.child("dropped_changes").counter("too new").add(2);
    }
    let parts = apply.child("partitions-0-15").child("partitions");
    for (number, lag) in [("3", Value::Float(1.5)), ("4", Value::Text("unknown".to_owned()))] {
        parts.child(number).set("lag_seconds", lag);
    }
    root.child("throttle").child("apply").set("paused", true);
    root
}

#[test]
fn every_sample_stands_behind_the_head_of_its_metric() {
    let text = render(&tree(), "1.2", false);
    let expected = "# HELP keyferry_apply_events_total Events that were applied.\n\
        # TYPE keyferry_apply_events_total counter\n\
        keyferry_apply_events_total{destination=\"redis://h:1\",partition=\"16\"} 3\n\
        keyferry_apply_events_total{destination=\"redis://h:1\",partition=\"0-15\"} 3\n";
    assert!(text.contains(expected), "{text}");
    for line in [
        "keyferry_info{version=\"1.2\"} 1",
        "keyferry_stream_info{stream=\"shop \\\"1\\\"\\\\\\n\"} 1",
        "keyferry_ready 0",
        "keyferry_start_time_seconds 1.5",
        "keyferry_state{state=\"running\"} 1",
        "keyferry_state{state=\"starting\"} 0",
        "keyferry_apply_phase{destination=\"redis://h:1\",partition=\"16\",phase=\"resting\"} 1",
        "keyferry_apply_phase{destination=\"redis://h:1\",partition=\"16\",phase=\"stream\"} 0",
        "keyferry_apply_dropped_changes_total{destination=\"redis://h:1\",partition=\"16\",reason=\"too new\"} 2",
        "keyferry_paused{side=\"apply\"} 1",
        "keyferry_apply_lag_seconds{destination=\"redis://h:1\",partition=\"3\"} 1.5",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert_eq!(text.matches("keyferry_apply_lag_seconds{").count(), 1, "{text}");
}

#[test]
fn names_are_of_the_form_that_is_expected_and_each_stands_once() {
    let mut names = BTreeSet::new();
    for metric in TABLE {
        assert!(names.insert(metric.name), "{} stands twice", metric.name);
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(metric.name.starts_with("keyferry_") && metric.name.chars().all(plain));
        assert_eq!(metric.name.ends_with("_total"), metric.shape == Shape::Counter);
        assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{}", metric.name);
    }
}

#[test]
fn the_documentation_names_every_metric_and_no_other() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate.md");
    let page = std::fs::read_to_string(path).unwrap();
    for metric in TABLE {
        let row = format!("| `{}` | {} | {} |", metric.name, metric.kind(), metric.help);
        assert!(page.lines().any(|line| line == row), "docs/operate.md lacks:\n{row}");
    }
    let known: BTreeSet<_> = TABLE.iter().map(|metric| metric.name).collect();
    for word in page.split(|c: char| !c.is_ascii_lowercase() && c != '_') {
        let is_metric = word.starts_with("keyferry_");
        assert!(
            !is_metric || known.contains(word),
            "docs/operate.md names {word}, which there is not"
        );
    }
}
