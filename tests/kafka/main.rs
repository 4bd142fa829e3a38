//! The backend on Kafka against real brokers: the journal's contract, then what only it promises.

mod brokers;
mod contract;
mod lease;
mod members;
mod refusals;
mod secure;
mod stage;
