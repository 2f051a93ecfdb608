//! `managed_identity`, as a program of libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::managed_identity::run(data);
});
