//! What the fuzz targets share.

use bytefacts_bytecode::flow::{self, Terminators};
use bytefacts_bytecode::{Code, PyStr, disassemble, exception_table, location, text, units};

/// Asks everything of a code object and the code objects in it.
pub fn survey(module: &Code) {
    for unit in units(module) {
        let exceptions = exception_table::parse(unit.code).unwrap_or_default();
        let _ = location::line_starts(unit.code);
        unit.code.consts.iter().for_each(|constant| drop(text::repr(constant, "")));
        let instructions = disassemble(unit.code).unwrap_or_default();
        let flow = flow::analyze(unit.code, &instructions, &exceptions, &Terminators::default());
        // Blocks partition the code.
        assert_eq!(flow.block_of.len(), instructions.len());
        assert!(flow.blocks.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].start < pair[0].end));
        assert_eq!(flow.blocks.last().map(|last| last.end), instructions.last().map(|last| last.end_offset));
        for instruction in instructions {
            if instruction.const_index().is_none() {
                instruction.write_argrepr("", &mut String::new());
            }
            assert!(instruction.offset < instruction.end_offset);
        }
    }
}

/// A code object of two hundred `NOP`s with these tables.
pub fn code_with(linetable: &[u8], exceptiontable: &[u8]) -> Code {
    let nop = bytefacts_bytecode::opcode::op::NOP;
    Code {
        argcount: 0,
        posonlyargcount: 0,
        kwonlyargcount: 0,
        stacksize: 0,
        flags: 0,
        code: [nop, 0].repeat(200),
        consts: Vec::new(),
        names: Vec::new(),
        localsplusnames: Vec::new(),
        localspluskinds: Vec::new(),
        filename: PyStr::from("a.py"),
        name: PyStr::from("f"),
        qualname: PyStr::from("f"),
        firstlineno: 1,
        linetable: linetable.to_vec(),
        exceptiontable: exceptiontable.to_vec(),
    }
}
