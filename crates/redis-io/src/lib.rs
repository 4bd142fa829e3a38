//! Connections to Redis and Valkey: request and reply, TLS, replication.
