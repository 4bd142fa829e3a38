//! HTTP over the status tree.
