//! Every fact of a file as text, line by line what judge.py writes of it.

use std::fmt::{Display, Write as _};

use bytefacts_bytecode::{ArgVal, Code, Const, Instruction, PyStr, Unit, disassemble, exception_table, location, opcode, text, units};

/// The facts of all units of a module. `filename` stands for `co_filename`.
pub fn facts(module: &Code, filename: &str) -> String {
    let mut out = String::new();
    for unit in units(module) {
        write_unit(&unit, filename, &mut out).expect("writing to a string");
    }
    out.pop();
    out
}

fn write_unit(unit: &Unit<'_>, filename: &str, out: &mut String) -> std::fmt::Result {
    let code = unit.code;
    let path: Vec<_> = unit.code_path.iter().map(ToString::to_string).collect();
    writeln!(out, "unit {} {} {}", unit.qualpath, path.join("."), unit.kind.as_str())?;
    writeln!(out, "names {}|{}|{}", code.name.to_text(), code.qualname.to_text(), code.filename.to_text())?;
    let (argcount, posonly, kwonly) = (code.argcount, code.posonlyargcount, code.kwonlyargcount);
    write!(out, "counts {argcount} {posonly} {kwonly} {} {} ", code.nlocals(), code.stacksize)?;
    writeln!(out, "{} {} {}", code.flags, code.firstlineno, code.code.len())?;
    let (varnames, cellvars, freevars) = (join(code.varnames()), join(code.cellvars()), join(code.freevars()));
    writeln!(out, "variables {varnames}|{cellvars}|{freevars}|{}", join(code.names.iter()))?;
    for constant in &code.consts {
        writeln!(out, "const {} {}", constant.type_name(), text::repr(constant, filename))?;
    }
    for start in location::line_starts(code).expect("a sound location table") {
        writeln!(out, "line {} {}", start.offset, Optional(start.line))?;
    }
    for entry in exception_table::parse(code).expect("a sound exception table") {
        writeln!(out, "exception {} {} {} {} {}", entry.start, entry.end, entry.target, entry.depth, i32::from(entry.lasti))?;
    }
    out.push_str("positions ");
    let start = out.len();
    for found in location::locations(code) {
        let found = found.expect("a sound location table");
        let place = found.positions;
        for _ in (found.start..found.end).step_by(2) {
            if out.len() > start {
                out.push(';');
            }
            write!(out, "{},{},{},{}", Optional(place.line), Optional(place.end_line), Optional(place.col), Optional(place.end_col))?;
        }
    }
    out.push('\n');
    for instruction in disassemble(code).expect("sound code") {
        write_instruction(&instruction, code, filename, out)?;
    }
    Ok(())
}

fn write_instruction(instruction: &Instruction<'_>, code: &Code, filename: &str, out: &mut String) -> std::fmt::Result {
    let Instruction { offset, start_offset, end_offset, opcode: number, baseopcode, arg, .. } = *instruction;
    write!(out, "{offset} {start_offset} {end_offset} {} {number} ", instruction.opname())?;
    write!(out, "{} {baseopcode} {}|", opcode::name(baseopcode), Optional(arg))?;
    match instruction.argval {
        ArgVal::None => out.push('-'),
        ArgVal::Raw(value) => write!(out, "raw {value}")?,
        ArgVal::Const(constant) => {
            assert!(instruction.const_index().and_then(|index| code.consts.get(index)).is_some_and(|other| std::ptr::eq(other, constant)));
            write!(out, "const {}", text::repr(constant, filename))?;
        }
        ArgVal::Name(name) => write!(out, "name {}", name.to_text())?,
        ArgVal::Local(name) => write!(out, "local {}", name.to_text())?,
        ArgVal::LocalPair(first, second) => write!(out, "pair {} {}", first.to_text(), second.to_text())?,
        ArgVal::Free(name) => write!(out, "free {}", name.to_text())?,
        ArgVal::Compare(operator) => write!(out, "compare {operator}")?,
        ArgVal::Jump(target) => write!(out, "jump {target}")?,
    }
    out.push('|');
    instruction.write_argrepr(filename, out);
    let (line, label, target) = (Optional(instruction.line_number), Optional(instruction.label), Optional(instruction.jump_target));
    write!(out, "|{line} {} {label} {} {target}", i32::from(instruction.starts_line), i32::from(instruction.label.is_some()))?;
    let place = instruction.positions;
    write!(out, " {} {} {} {}|", Optional(place.line), Optional(place.end_line), Optional(place.col), Optional(place.end_col))?;
    for (name, words, data) in instruction.caches(code) {
        write!(out, " {name}:{words}:")?;
        data.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
    }
    out.push('\n');
    Ok(())
}

fn join<'a>(names: impl Iterator<Item = &'a PyStr>) -> String {
    names.map(PyStr::to_text).collect::<Vec<_>>().join(" ")
}

struct Optional(Option<i32>);

impl Display for Optional {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// Whether two constants are the same, NaNs included, whatever the order of frozensets: marshal writes that by how each version
/// writes the elements.
pub fn same(left: &Const, right: &Const) -> bool {
    let (mut left, mut right) = (left.clone(), right.clone());
    sort_sets(&mut left);
    sort_sets(&mut right);
    left == right || format!("{left:?}") == format!("{right:?}")
}

fn sort_sets(constant: &mut Const) {
    match constant {
        Const::Tuple(items) => items.iter_mut().for_each(sort_sets),
        Const::FrozenSet(items) => {
            items.iter_mut().for_each(sort_sets);
            items.sort_by_cached_key(|item| (item.type_name(), text::repr(item, "")));
        }
        Const::Code(code) => code.consts.iter_mut().for_each(sort_sets),
        _ => {}
    }
}
