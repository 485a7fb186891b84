//! Any location table is read or refused, and its entries follow each other without a gap.
#![no_main]

use bytefacts_bytecode::{disassemble, location};
use bytefacts_bytecode_fuzz::code_with;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|table: &[u8]| {
    let code = code_with(table, &[]);
    let mut end = 0;
    for found in location::locations(&code).map_while(Result::ok) {
        assert_eq!(found.start, end);
        assert!(found.end > found.start);
        end = found.end;
    }
    if let Ok(starts) = location::line_starts(&code) {
        assert!(starts.windows(2).all(|pair| pair[0].offset < pair[1].offset && pair[0].line != pair[1].line));
        let instructions = disassemble(&code).expect("sound code with a sound table");
        let seen = instructions.iter().filter(|instruction| instruction.starts_line).count();
        assert_eq!(seen, starts.iter().filter(|start| start.offset < 400).count());
    }
});
