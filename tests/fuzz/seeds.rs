//! Running a fuzz target as an ordinary test: what once found something stays found. Included by the crates that have
//! targets.

use std::path::Path;

/// Runs a target over its seeds, and over what was found from them.
///
/// # Panics
/// When something does not hold, or there are none.
pub(crate) fn run(name: &str, target: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz");
    let mut count = 0;
    for entry in std::fs::read_dir(fuzz.join("corpus").join(name)).expect("a folder of seeds") {
        let path = entry.expect("readable").path();
        target(&std::fs::read(&path).expect("readable"));
        count += 1;
    }
    assert!(count > 0, "{name} has no seeds");
    let found = std::fs::read(fuzz.join("found").join(name)).expect("what was found");
    // Each with its length before it, as `scripts/fuzz-corpus` packs them.
    let mut rest = found.as_slice();
    while let Some((length, more)) = rest.split_first_chunk() {
        let length = usize::try_from(u32::from_le_bytes(*length)).expect("a length");
        let (input, more) = more.split_at(length);
        target(input);
        rest = more;
    }
}
