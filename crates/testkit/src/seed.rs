//! Where the chance of a test comes from.

/// The variable that replays a test.
const VARIABLE: &str = "KEYFERRY_TEST_SEED";

/// What the environment asks for, else any; printed, so that a failure can be replayed.
#[expect(clippy::print_stdout, reason = "the seed belongs to what a failed test says")]
pub fn seed() -> u64 {
    let seed = named().unwrap_or_else(|| fastrand::u64(..));
    println!("replay with {VARIABLE}={seed}");
    seed
}

/// What the environment asks for, else always the same.
pub fn seed_or(fixed: u64) -> u64 {
    named().unwrap_or(fixed)
}

fn named() -> Option<u64> {
    std::env::var_os(VARIABLE)?.to_string_lossy().parse().ok()
}
