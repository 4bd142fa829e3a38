//! Source to journal.
