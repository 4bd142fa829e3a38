//! Tests of the reading of tails.
