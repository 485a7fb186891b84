//! Code objects made by hand for unit tests.

use super::{Flow, Terminators, analyze};
use crate::exception_table::ExceptionEntry;
use crate::instruction::disassemble;
use crate::object::{Code, PyStr, local_kind};
use crate::opcode;

/// A code object with the given instructions, each without its caches; its locals are called `a`, `b`, ..., and so are its names.
pub(super) fn code(instructions: &[(u8, u8)], arguments: i32, locals: &str) -> Code {
    let names = || locals.split_terminator(' ').map(|name| PyStr::new(name.as_bytes()).unwrap()).collect::<Vec<_>>();
    let text = || PyStr::new(b"f").unwrap();
    Code {
        argcount: arguments,
        posonlyargcount: 0,
        kwonlyargcount: 0,
        stacksize: 100,
        flags: 3,
        code: instructions
            .iter()
            .flat_map(|&(opcode, arg)| {
                let caches = usize::from(opcode::cache_words(opcode)) * 2;
                [opcode, arg].into_iter().chain(std::iter::repeat_n(0, caches))
            })
            .collect(),
        consts: vec![crate::object::Const::None],
        names: names(),
        localsplusnames: names(),
        localspluskinds: names().iter().map(|_| local_kind::LOCAL).collect(),
        filename: text(),
        name: text(),
        qualname: text(),
        firstlineno: 1,
        linetable: Vec::new(),
        exceptiontable: Vec::new(),
    }
}

/// Analyses a code object with the given exception table.
pub(super) fn flow_of(code: &Code, exceptions: &[ExceptionEntry]) -> Flow {
    analyze(code, &disassemble(code).unwrap(), exceptions, &Terminators::default())
}
