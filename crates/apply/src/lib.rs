//! Journal to destination.
