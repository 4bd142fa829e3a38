//! The backend on Kafka against real brokers: the journal's contract, what only it promises, and processes that share it.

#![expect(clippy::print_stdout, reason = "what a test prints tells how to replay it")]

mod accounts;
mod apart;
mod backlog;
mod beside;
mod brokers;
mod chaos;
mod containers;
mod contract;
mod fan_out;
mod idle;
mod leaders;
mod lease;
mod letters;
mod load;
mod members;
mod moves;
mod offsets;
mod operate;
mod outages;
mod processes;
mod refusals;
mod replay;
mod requests;
mod resnapshot;
mod rivals;
mod secure;
mod shards;
mod sharing;
mod stage;
mod steered;
mod stopping;
mod storm;
mod third_party;
mod topic;
mod unconfirmed;
mod unleased;
