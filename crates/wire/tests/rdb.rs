//! The RDB parser against files that real servers wrote, and what those servers said is in them.

#[cfg(test)]
#[path = "rdb/fixture.rs"]
mod fixture;
#[cfg(test)]
#[path = "rdb/hostile.rs"]
mod hostile;
#[cfg(test)]
#[path = "rdb/pieces.rs"]
mod pieces;
#[cfg(test)]
#[path = "rdb/servers.rs"]
mod servers;
