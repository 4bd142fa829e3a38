//! The backend on Kafka against real brokers: the journal's contract, what only it promises, and processes that share it.

mod apart;
mod brokers;
mod contract;
mod lease;
mod members;
mod processes;
mod refusals;
mod requests;
mod secure;
mod sharing;
mod stage;
mod third_party;
mod unleased;
