//! Named tasks, clock, budget and status that every process of ours shares.
