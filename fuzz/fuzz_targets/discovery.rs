//! `discovery`, as a program of libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::discovery::run(data);
});
