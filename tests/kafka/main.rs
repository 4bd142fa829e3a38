//! The backend on Kafka against real brokers: the journal's contract, then what only it promises.

mod contract;
mod stage;
