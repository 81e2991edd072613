//! The property stands in `polling-server/src/fuzzing/parameter.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| polling_server::fuzzing::parameter(bytes));
