//! What stands above the instructions of a unit.

use bytefacts_bytecode::object::flag;
use bytefacts_bytecode::{Code, PyStr, Unit};

use crate::paint::{BOLD, DIM, Paint};
use crate::table::width;

/// Flags by name, lowest bit first.
const FLAGS: [(i32, &str); 10] = [
    (flag::OPTIMIZED, "optimized"),
    (flag::NEWLOCALS, "newlocals"),
    (flag::VARARGS, "varargs"),
    (flag::VARKEYWORDS, "varkeywords"),
    (flag::NESTED, "nested"),
    (flag::GENERATOR, "generator"),
    (flag::NOFREE, "nofree"),
    (flag::COROUTINE, "coroutine"),
    (flag::ITERABLE_COROUTINE, "iterable_coroutine"),
    (flag::ASYNC_GENERATOR, "async_generator"),
];

/// Whether the user may mean `unit` by `name`: its qualified name, with or without `<locals>`, or its qualpath.
pub fn is_named(unit: &Unit<'_>, name: &str) -> bool {
    let qualname = unit.code.qualname.to_text();
    unit.qualpath == name || qualname == name || qualname.replace("<locals>.", "") == name
}

/// Name, kind, line, signature, flags, stack and variables.
pub fn header(unit: &Unit<'_>, paint: Paint) -> String {
    let code = unit.code;
    let name = code.qualname.to_text();
    let title = format!("{} {}{}", unit.kind.as_str(), width::printable(&name), signature(code));
    let place =
        if unit.parent.is_some() { format!("  line {}, {}", code.firstlineno, width::printable(&unit.qualpath)) } else { String::new() };
    let mut text = format!("{}{}\n", paint.paint(BOLD, &title), paint.paint(DIM, &place));
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {} {value}\n", paint.paint(DIM, &format!("{name:<6}"))));
        }
    };
    line("flags", flags(code.flags));
    line("stack", code.stacksize.to_string());
    line("locals", names(code.varnames()));
    line("cells", names(code.cellvars()));
    line("free", names(code.freevars()));
    text
}

/// The arguments as they stand behind a function's name, without annotations and defaults, which are no part of the code; nothing for code that
/// takes none.
pub fn signature(code: &Code) -> String {
    let mut variables = code.varnames().map(|name| name.to_text().into_owned());
    let mut take = |n: i32| -> Vec<String> { variables.by_ref().take(usize::try_from(n).unwrap_or(0)).collect() };
    let mut arguments = take(code.posonlyargcount);
    if !arguments.is_empty() {
        arguments.push("/".to_owned());
    }
    arguments.extend(take(code.argcount.saturating_sub(code.posonlyargcount)));
    let keyword_only = take(code.kwonlyargcount);
    // In the table of variables `*args` stands behind the keyword-only arguments.
    if code.has_flag(flag::VARARGS) {
        arguments.extend(take(1).into_iter().map(|name| format!("*{name}")));
    } else if !keyword_only.is_empty() {
        arguments.push("*".to_owned());
    }
    arguments.extend(keyword_only);
    if code.has_flag(flag::VARKEYWORDS) {
        arguments.extend(take(1).into_iter().map(|name| format!("**{name}")));
    }
    if arguments.is_empty() && !code.has_flag(flag::OPTIMIZED) { String::new() } else { format!("({})", arguments.join(", ")) }
}

/// Names of the bits, `0x…` for those that have none.
fn flags(flags: i32) -> String {
    let named = FLAGS.iter().filter(|(bit, _)| flags & bit != 0);
    let mut words: Vec<_> = named.clone().map(|(_, name)| (*name).to_owned()).collect();
    let rest = named.fold(flags, |rest, (bit, _)| rest & !bit);
    if rest != 0 {
        words.push(format!("{rest:#x}"));
    }
    words.join(" ")
}

fn names<'a>(names: impl Iterator<Item = &'a PyStr>) -> String {
    names.map(|name| width::printable(&name.to_text()).into_owned()).collect::<Vec<_>>().join(", ")
}
