//! What a change is, and its protobuf form.
