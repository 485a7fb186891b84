//! Any exception table is read or refused, and what is read lies in the code.
#![no_main]

use bytefacts_bytecode::exception_table;
use bytefacts_bytecode_fuzz::code_with;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|table: &[u8]| {
    for entry in exception_table::parse(&code_with(&[], table)).unwrap_or_default() {
        assert!(0 <= entry.start && entry.start < entry.end && entry.end <= 400);
        assert!(0 <= entry.target && entry.target < 400 && entry.depth >= 0);
    }
});
