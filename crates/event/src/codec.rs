//! Domain types to protobuf and back.
