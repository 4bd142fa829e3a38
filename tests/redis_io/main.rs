//! redis-io against real servers: getting in, being told why not, facts, and being a replica; and what wire says of
//! values and commands against what those servers say.
//!
//! Each test has private servers. Servers without TLS are tested on every kind; TLS on the one
//! whose binary has it.

mod auth;
mod command_table;
mod connect;
mod facts;
mod lower;
mod normalise;
mod replica;
mod replication;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use redis_io::{Connection, Connector, Endpoint, Error, Settings};
use runtime::{Clock, SystemClock};

/// What a state may take to come about on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn settings() -> Settings {
    Settings { client_name: Some("keyferry-test".to_owned()), ..Settings::default() }
}

fn endpoint(uri: &str) -> Endpoint {
    Endpoint::parse(uri).expect("a good URI")
}

async fn connect(uri: &str) -> Result<Connection, Error> {
    Connector::new(endpoint(uri), settings(), clock())?.connect().await
}

/// The error of connecting, which must fail.
async fn refusal(uri: &str) -> Error {
    connect(uri).await.expect_err("this server must not let us in")
}
