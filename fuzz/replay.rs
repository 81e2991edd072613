//! Holds a property for the committed inputs of a fuzz target, and for what is near them.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Inputs that a target has, at least.
const SEEDS_MIN: usize = 5;

/// Calls `property` with every input in the folder `fuzz/seeds` of the target, with each of its beginnings, and with each of its bits
/// flipped: what a fuzzer tries first, wherever there is none.
///
/// # Panics
///
/// When the property does not hold for one of them, or there are no inputs.
pub fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).expect("the target has a folder of inputs") {
        let path = entry.expect("the entry is read").path();
        let seed = fs::read(&path).expect("the input is read");
        let hold = |bytes: &[u8]| {
            let held = catch_unwind(|| property(bytes));
            assert!(held.is_ok(), "near {}: {:?} is {bytes:?}", path.display(), String::from_utf8_lossy(bytes));
        };
        hold(&seed);
        (0..seed.len()).for_each(|length| hold(&seed[..length]));
        for bit in 0..seed.len() * 8 {
            let mut flipped = seed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            hold(&flipped);
        }
        seeds += 1;
    }
    assert!(seeds >= SEEDS_MIN, "{target} has {seeds} inputs");
}
