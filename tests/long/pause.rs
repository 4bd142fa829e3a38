//! A destination that stands still for a minute, at the pace that is promised.

use anyhow::Result;

use crate::standstill::{WRITES_PER_SECOND, harms_nobody};

#[test]
fn a_paused_destination_harms_nobody_at_20_000_writes_a_second() -> Result<()> {
    harms_nobody(WRITES_PER_SECOND * 98 / 100)
}
