//! Any bytes are read or refused, and whatever is read can be analysed.
#![no_main]

use bytefacts_bytecode::{Const, marshal, text};
use bytefacts_bytecode_fuzz::survey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match marshal::read(bytes) {
        Ok(Const::Code(module)) => survey(&module),
        Ok(constant) => drop(text::repr(&constant, "")),
        Err(_) => {}
    }
});
