//! Read-only checks before and after.
