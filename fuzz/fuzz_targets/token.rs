//! The property stands in `polling-core/src/fuzzing/token.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| polling_core::fuzzing::token(bytes));
