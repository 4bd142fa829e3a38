//! What takes long, on the binary: values as large as servers take, a minute of full load, hours of accidents. Run by
//! `./test long`; a plain `cargo test` leaves it out.

#![expect(clippy::print_stdout, reason = "what a test prints tells how to replay it")]

#[path = "../kafka/apart.rs"]
#[allow(dead_code, reason = "the tests on Kafka use the rest")]
mod apart;
#[path = "../e2e/bridge.rs"]
mod bridge;
#[path = "../kafka/chaos.rs"]
mod chaos;
mod huge;
#[path = "../kafka/load.rs"]
#[allow(dead_code, reason = "the tests on Kafka use the rest")]
mod load;
mod pause;
mod soak;
#[path = "../e2e/standstill.rs"]
mod standstill;
