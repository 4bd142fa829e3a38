//! What tests share: real servers, waiting for a state, comparing data sets.
