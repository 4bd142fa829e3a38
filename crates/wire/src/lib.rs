//! RESP, RDB, slots and the command table of Redis and Valkey: bytes in, values out.
