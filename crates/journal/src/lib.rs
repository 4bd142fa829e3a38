//! An ordered, durable, partitioned log of opaque records behind one small trait.
