//! The property stands in `polling-server/src/fuzzing/vote_body.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| polling_server::fuzzing::vote_body(bytes));
