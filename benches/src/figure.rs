//! What is measured, and what it should come to.
//!
//! A figure is judged by its ratio to native replication where there is one to compare with, else by
//! its value. Targets say what is wanted of the bridge on any machine; missing one fails nothing.

use serde::Serialize;

/// A figure and its targets.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// What is measured.
    pub(crate) name: &'static str,
    /// In what.
    pub(crate) unit: &'static str,
    /// What the targets are about.
    pub(crate) by: By,
    /// Which way is better.
    pub(crate) better: Better,
    /// What it has to reach, and what it is meant to: none for what is only told.
    pub(crate) targets: Option<Targets>,
}

/// What a figure is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// keyferry's value, divided by native replication's.
    Ratio,
    /// keyferry's value.
    Value,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Less,
    More,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Targets {
    /// What it has to reach.
    pub(crate) bar: f64,
    /// What it is meant to reach.
    pub(crate) goal: f64,
}

/// How a figure stands to its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Goal,
    Ok,
    Over,
}

/// A figure's values of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    pub(crate) figure: &'static Figure,
    pub(crate) native: Option<f64>,
    pub(crate) keyferry: Option<f64>,
}

// === impl Figure ===

impl Figure {
    /// A ratio to native replication that should be small.
    pub(crate) const fn ratio(name: &'static str, unit: &'static str, bar: f64, goal: f64) -> Self {
        let targets = Some(Targets { bar, goal });
        Self { name, unit, by: By::Ratio, better: Better::Less, targets }
    }

    /// A value that should be small.
    pub(crate) const fn value(name: &'static str, unit: &'static str, bar: f64, goal: f64) -> Self {
        let targets = Some(Targets { bar, goal });
        Self { name, unit, by: By::Value, better: Better::Less, targets }
    }

    /// The same, if more of it is better.
    pub(crate) const fn more(self) -> Self {
        Self { better: Better::More, ..self }
    }

    /// The same without targets.
    pub(crate) const fn told(self) -> Self {
        Self { targets: None, ..self }
    }

    /// The better of two.
    pub(crate) fn best(&self, a: f64, b: f64) -> f64 {
        match self.better {
            Better::Less => a.min(b),
            Better::More => a.max(b),
        }
    }

    /// How `value` stands to the targets, if there are any.
    pub(crate) fn verdict(&self, value: f64) -> Option<Verdict> {
        let Targets { bar, goal } = self.targets?;
        let reaches = |target| match self.better {
            Better::Less => value <= target,
            Better::More => value >= target,
        };
        Some(match (reaches(goal), reaches(bar)) {
            (true, _) => Verdict::Goal,
            (false, true) => Verdict::Ok,
            (false, false) => Verdict::Over,
        })
    }
}

// === impl Measured ===

impl Measured {
    /// What it is judged by; none if a value is missing for it.
    pub(crate) fn judged(&self) -> Option<f64> {
        match self.figure.by {
            By::Ratio => Some(self.keyferry? / self.native.filter(|&native| native > 0.0)?),
            By::Value => self.keyferry,
        }
    }
}

/// The median; of an even number the lower middle one, so that it is a value that was seen.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    static WALL: Figure = Figure::ratio("wall", "s", 2.0, 1.2);
    static RATE: Figure = Figure::ratio("rate", "1/s", 0.8, 0.95).more();

    #[test]
    fn ratios_are_judged_in_their_direction() {
        let measured = |figure, keyferry| {
            Measured { figure, native: Some(2.0), keyferry: Some(keyferry) }.judged().unwrap()
        };
        let cases = [
            (&WALL, 2.4, Verdict::Goal),
            (&WALL, 4.0, Verdict::Ok),
            (&WALL, 4.1, Verdict::Over),
            (&RATE, 1.9, Verdict::Goal),
            (&RATE, 1.6, Verdict::Ok),
            (&RATE, 1.5, Verdict::Over),
        ];
        for (figure, value, wanted) in cases {
            assert_eq!(figure.verdict(measured(figure, value)), Some(wanted), "{value}");
        }
        assert_eq!((WALL.best(1.0, 2.0), RATE.best(1.0, 2.0)), (1.0, 2.0));
    }

    #[test]
    fn a_ratio_needs_both_values() {
        let half = Measured { figure: &WALL, native: None, keyferry: Some(1.0) };
        assert_eq!(half.judged(), None);
        assert_eq!(Measured { native: Some(0.0), ..half }.judged(), None);
    }

    #[test]
    fn the_median_is_a_value_that_was_seen() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(1.0));
        assert_eq!(median(&[]), None);
    }
}
