#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seinode_core::testkit::fuzz::decide(bytes));
