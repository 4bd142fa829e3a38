//! What a destination cannot hold of a source, as data: the tests expect exactly this, and the page
//! of versions is made of it.

use testkit::Kind;

/// Something that some sources have and some destinations do not.
pub(super) struct Gap {
    /// For people: what is set aside.
    pub(super) what: &'static str,
    /// Whether a source has it.
    pub(super) has: fn(Kind) -> bool,
    /// Whether a destination takes it.
    pub(super) takes: fn(Kind) -> bool,
    /// How it shows among the dead letters.
    pub(super) marks: &'static [Mark],
}

/// A dead letter with both of these in it, in any case.
pub(super) struct Mark {
    /// In the reason.
    pub(super) why: &'static str,
    /// In the event.
    pub(super) event: &'static str,
}

/// Every gap there is.
pub(super) const GAPS: &[Gap] = &[
    Gap {
        what: "hashes whose fields expire (before Redis 7.4 and Valkey 9.0)",
        has: Kind::has_field_expiry,
        takes: Kind::has_field_expiry,
        marks: &[mark("it knows no expiry of hash fields", "")],
    },
    Gap {
        what: "function libraries (before 7.0)",
        has: Kind::has_functions,
        takes: Kind::has_functions,
        marks: &[mark("it knows no functions", "")],
    },
    Gap {
        what: "vector sets (elsewhere than in Redis 8)",
        has: |source| source == Kind::Redis8_2,
        takes: |destination| destination == Kind::Redis8_2,
        marks: &[mark("it knows no vector sets", "")],
    },
    Gap {
        what: "results of `GEOSEARCHSTORE … BYBOX` (before 6.2)",
        has: |source| source.at_least(6, 2),
        takes: |destination| destination.at_least(6, 2),
        marks: &[mark("it knows no search of places in a box", "")],
    },
];

const fn mark(why: &'static str, event: &'static str) -> Mark {
    Mark { why, event }
}

/// What a destination cannot hold of a source.
pub(super) fn between(source: Kind, destination: Kind) -> impl Iterator<Item = &'static Gap> {
    GAPS.iter().filter(move |gap| gap.is_between(source, destination))
}

// === impl Gap ===

impl Gap {
    /// Whether it is there between two servers.
    pub(super) fn is_between(&self, source: Kind, destination: Kind) -> bool {
        (self.has)(source) && !(self.takes)(destination)
    }

    /// Whether it explains a dead letter.
    pub(super) fn explains(&self, why: &str, event: &str) -> bool {
        let (why, event) = (why.to_lowercase(), event.to_lowercase());
        self.marks.iter().any(|mark| why.contains(mark.why) && event.contains(mark.event))
    }
}
