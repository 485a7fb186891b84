//! The columns of the views, by name, type and meaning.

use super::{Column, column};
use crate::schema::Kind::{Boolean, Int32, Int64, Text};

/// What [`OF_INSTRUCTION`] calls `instr_id`.
pub(super) const INSTR_ID: &str =
    "CASE WHEN instr_index IS NULL THEN NULL ELSE bytefacts_hash64('bc_instr:', code_unit_id, instr_index, \"offset\") END";

/// Which instruction it is.
pub(super) const OF_INSTRUCTION: &[Column] = &[
    column("repo", Text, "repository key in the corpus"),
    column("file_id", Text, "the file"),
    column("path", Text, "path inside the repository"),
    column("code_unit_id", Text, "the unit that it is in"),
    column("instr_id", Text, "the instruction that does it; null for a parameter"),
    column("instr_index", Int32, "position of the instruction in its unit; null for a parameter"),
    column("offset", Int32, "byte offset of the instruction; null for a parameter"),
];

/// Where it stands in the source.
pub(super) const PLACE: &[Column] = &[
    column("line_number", Int32, "1-based line; null for code without one"),
    column("pos_start_line", Int32, "0-based first line"),
    column("pos_start_col", Int32, "0-based first column in UTF-8 bytes"),
    column("pos_end_line", Int32, "0-based last line"),
    column("pos_end_col", Int32, "0-based exclusive end column in UTF-8 bytes"),
];

/// What kinds a value can be of.
const KINDS: &str = "`local`, `cell` (a variable that functions share), `global`, `name` (of a module or class body), `attribute`, \
                     `constant`, `call`, `subscript`, `other`, or `several` where it comes from more than one place";

pub(super) const ATTRIBUTES: &[Column] = &[
    column("access", Text, "`read`, `write` or `delete`"),
    column("attribute", Text, "the attribute, a private name as the class mangles it"),
    column("object", Text, "what has it, as `self.x`; null if that is no variable with attributes, or more than eight attributes deep"),
    column("dotted", Text, "`object.attribute`; null with the object"),
    column(
        "base_kind",
        Text,
        "what the object begins with: `super` of `super().x`, `attribute` beyond eight attributes, or as value_kind in \
         py_bc_call_arguments",
    ),
    column("is_method", Boolean, "whether it is loaded to be called at once, as `x.f()` does"),
];

pub(super) const CALLS: &[Column] = &[
    column(
        "callee",
        Text,
        "what is called, as `os.path.join`; null if that is no variable with attributes, as `f()()` or `x[0].f()`. Calls in code that \
         nothing reaches have no row",
    ),
    column("callee_name", Text, "the last name of what is called, `join` of any `….join()`; null without a name"),
    column("base_kind", Text, "what the callee begins with: `super`, or as value_kind in py_bc_call_arguments"),
    column("is_attribute", Boolean, "whether an attribute is called"),
    column(
        "positional_count",
        Int32,
        "positional arguments; null if they are passed in one sequence, because of a `*` or for their number: see py_bc_call_arguments",
    ),
    column(
        "keyword_count",
        Int32,
        "keyword arguments; null if they are passed in a dictionary, because of a `**`, a `*` or for their number",
    ),
    column("keyword_names", Text, "names of the keyword arguments in order, a blank between; null as keyword_count"),
    column("is_unpacked", Boolean, "whether the arguments are passed in a sequence, as those of `f(*x)` are, and of calls with very many"),
];

pub(super) const CALL_ARGUMENTS: &[Column] = &[
    column("callee", Text, "what is called, as in py_bc_calls, where the row of the same instr_id is"),
    column(
        "kind",
        Text,
        "`positional`, `keyword`, `star` (`*x`), `double_star` (`**x`), or `constants`: several positional ones \
         that the compiler has made one tuple of; names behind a `**`, if more than 15 in a row, are one `double_star`",
    ),
    column("position", Int32, "0-based position of a positional argument; null for any other, and behind a `*`"),
    column("keyword", Text, "the name of a keyword argument; null for any other"),
    column("value_kind", Text, KINDS),
    column("value", Text, "a constant as `repr` has it, or the variable; null for any other value"),
    column(
        "value_instr_index",
        Int32,
        "the instruction that makes the value, as of a row in py_bc_calls or py_bc_attributes; null for `several`",
    ),
];

pub(super) const BASES: &[Column] = &[
    column("class_code_unit_id", Text, "the unit of the class's body"),
    column("class_name", Text, "the class"),
    column("kind", Text, "as in py_bc_call_arguments"),
    column("position", Int32, "0-based position of a base; null for any other, and behind a `*`"),
    column("keyword", Text, "the name of a keyword, as `metaclass`; null for a base"),
    column(
        "base",
        Text,
        "the base or the keyword's value: a variable, with attributes as `ast.NodeVisitor`, or a constant; null for any other",
    ),
    column("base_kind", Text, KINDS),
];

pub(super) const DECORATORS: &[Column] = &[
    column(
        "decorator",
        Text,
        "what decorates, or is called for it, as `functools.wraps` of `@functools.wraps(f)`; null if that is no variable with attributes",
    ),
    column("is_call", Boolean, "whether it is called for the decorator, as `@d()` is and `@d` is not"),
    column("nth", Int32, "0 for the one that is applied first, which stands last"),
    column(
        "decorated_code_unit_id",
        Text,
        "the unit of the decorated function or class, or of its type parameters; its name and line are in py_bc_code_units",
    ),
];

pub(super) const IMPORTS: &[Column] = &[
    column("statement", Text, "`import` or `from`"),
    column("module", Text, "the module as written, without the dots of a relative one; empty for `from . import x`"),
    column("level", Int32, "the number of dots; 0 for an absolute import"),
    column("is_relative", Boolean, "whether the level is more than 0"),
    column("name", Text, "what is imported from the module, `*` for all; null for `import`"),
    column("bound_as", Text, "the variable that it is stored in, `a` of `import a.b`; null for `*`"),
];

pub(super) const HANDLERS: &[Column] = &[
    column("kind", Text, "`except` or `except*`; a clause that nothing reaches, as that of `try: pass`, has no row"),
    column("is_bare", Boolean, "whether it is `except:`, which names no class"),
    column("caught", Text, "the classes that it catches, `, ` between; null if bare, or if any of them is no variable with attributes"),
    column("catches_all", Boolean, "whether it is bare or names Exception or BaseException"),
    column("bound_as", Text, "the variable behind `as`; null without one"),
    column("raises", Boolean, "whether a `raise` or an `assert` stands in it, on whatever path"),
    column("reraises", Boolean, "whether a `raise` in it has nothing behind it, or the variable behind `as`"),
    column(
        "logs",
        Boolean,
        "whether it calls anything named debug, info, warning, warn, error, exception, critical, fatal, log, print, \
         print_exc, print_exception or print_last",
    ),
    column("reads_exception", Boolean, "whether it reads the variable behind `as`"),
    column(
        "is_empty",
        Boolean,
        "whether it does nothing but go on or leave: `pass`, `...`, `continue`, `break`, `return` of nothing or of a constant",
    ),
    column("drops", Boolean, "whether nothing becomes of the exception: it is neither read nor is anything raised or logged"),
];

pub(super) const NAMES: &[Column] = &[
    column("name", Text, "the variable, a private name as the class mangles it; one that is not spelt in NFKC has no rows of being read"),
    column("access", Text, "`parameter`, `read`, `write` or `delete`"),
    column(
        "scope",
        Text,
        "`local`, `cell` (local, and used by functions inside), `free` (of a function around), `global` (of the module, or built in) or \
         `class` (in its body, else global)",
    ),
];

pub(super) const CONSTANTS: &[Column] = &[
    column("const_type", Text, "`str`, `bytes`, `int`, `float`, `complex`, `tuple` or `frozenset`"),
    column("text", Text, "a string as it is, another constant as `repr` has it; null for an int up to 64 bits"),
    column("number", Int64, "an int up to 64 bits; null for any other"),
    column("literal", Text, "as `repr` has it"),
    column("is_returned", Boolean, "whether it is returned at once"),
];

pub(super) const AWAITS: &[Column] = &[
    column("kind", Text, "`await`, `async for` or `async with`"),
    column("awaited", Text, "what is awaited: the callee of a call, or a variable with attributes; null for any other"),
    column("awaited_kind", Text, KINDS),
];

pub(super) const GLOBAL_WRITES: &[Column] = &[column("name", Text, "the variable"), column("access", Text, "`write` or `delete`")];
