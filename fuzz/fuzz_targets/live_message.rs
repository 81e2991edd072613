//! The property stands in `polling-server/src/fuzzing/live_message.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| polling_server::fuzzing::live_message(bytes));
