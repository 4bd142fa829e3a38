//! What a process says of each of its partitions, a line each instead of one for each number.

use std::collections::BTreeMap;

use indicatif::HumanBytes;
use serde_json::{Map, Value};

/// Where the numbers of partitions are, below capture and below each lane of apply.
const NODE: &str = "partitions";

/// Takes the partitions out of a status, and gives a line for each.
pub(super) fn take_lines(status: &mut Value) -> Vec<String> {
    let mut lines: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    let mut add = |node: Option<&mut Value>, line: fn(&Value) -> String| {
        let parts = node.and_then(Value::as_object_mut).and_then(|node| node.remove(NODE));
        for (number, part) in parts.iter().filter_map(Value::as_object).flatten() {
            lines.entry(number.parse().unwrap_or_default()).or_default().push(line(part));
        }
    };
    add(status.get_mut("capture"), captured);
    let lanes = status.get_mut("apply").and_then(Value::as_object_mut);
    lanes.into_iter().flat_map(Map::values_mut).for_each(|lane| add(Some(lane), applied));
    let shown = lines.into_iter();
    shown.map(|(number, what)| format!("partition {number}: {}", what.join("; "))).collect()
}

fn captured(part: &Value) -> String {
    let number = |name| part.get(name).and_then(Value::as_u64).unwrap_or_default();
    format!("recorded to {}, journal end {}", number("source_offset"), number("journal_end"))
}

fn applied(part: &Value) -> String {
    let number = |name| part.get(name).and_then(Value::as_u64);
    let or_none = |name| number(name).unwrap_or_default();
    let text = |name| part.get(name).and_then(Value::as_str);
    let bytes = number("lag_bytes").map(|bytes| format!(", about {}", HumanBytes(bytes)));
    let seconds = part.get("lag_seconds").and_then(Value::as_f64);
    let seconds = seconds.map(|seconds| format!(", {seconds:.1} s"));
    let waits = text("waits_at").map(|at| format!(", waits for others at {at}"));
    format!(
        "applied {} up to offset {} of {}, lag {} events{}{}{}",
        text("source_position").unwrap_or("nothing"),
        or_none("applied_offset"),
        or_none("journal_end"),
        or_none("lag_events"),
        bytes.unwrap_or_default(),
        seconds.unwrap_or_default(),
        waits.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_partition_has_a_line_in_the_order_of_numbers() {
        let recorded = json!({ "source_offset": 90, "journal_end": 8 });
        let part = json!({
            "source_position": "0:1:80:+", "applied_offset": 5, "journal_end": 8,
            "lag_events": 3, "lag_bytes": 300, "lag_seconds": 1.25, "waits_at": "0:1:85:0",
        });
        let new = json!({ "applied_offset": 0, "journal_end": 8, "lag_events": 8, "lag_bytes": "unknown" });
        let mut status = json!({
            "capture": { "phase": "stream", "partitions": { "2": recorded, "10": recorded } },
            "apply": { "stream": "main", "partitions-2,10": { "partitions": { "10": new, "2": part } } },
        });
        let expected = [
            "partition 2: recorded to 90, journal end 8; applied 0:1:80:+ up to offset 5 of 8, lag 3 events, about \
             300 B, 1.2 s, waits for others at 0:1:85:0",
            "partition 10: recorded to 90, journal end 8; applied nothing up to offset 0 of 8, lag 8 events",
        ];
        assert_eq!(take_lines(&mut status), expected);
        let rest = json!({ "capture": { "phase": "stream" }, "apply": { "stream": "main", "partitions-2,10": {} } });
        assert_eq!(status, rest);
        assert!(take_lines(&mut json!({ "state": "starting" })).is_empty());
    }
}
