//! The code objects of a file and how they are nested.

use crate::instruction::unpack;
use crate::object::{Code, Const, flag};
use crate::opcode::op;

/// One code object of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit<'a> {
    /// The code object.
    pub code: &'a Code,
    /// Index of the parent in the list of units; `None` for the module.
    pub parent: Option<usize>,
    /// From the module down: the place of each code object among the code constants of its parent. Empty for the module.
    pub code_path: Vec<i32>,
    /// Index in the parent's `co_consts`; `None` for the module.
    pub const_index: Option<usize>,
    /// `<module>`, then `{parent}.{co_name}@{co_firstlineno}`.
    pub qualpath: String,
    /// What the source of the code object is.
    pub kind: UnitKind,
}

/// What a code object was compiled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitKind {
    /// A whole file.
    Module,
    /// The body of a class.
    Class,
    /// A `def`, `async def` included.
    Function,
    /// A lambda.
    Lambda,
    /// A generator expression.
    GeneratorExpression,
    /// A list comprehension that was not inlined.
    ListComprehension,
    /// A set comprehension that was not inlined.
    SetComprehension,
    /// A dict comprehension that was not inlined.
    DictComprehension,
    /// The scope of the type parameters of a function, class or type alias.
    TypeParams,
    /// The value of a `type` statement.
    TypeAlias,
    /// The bound of a type variable.
    TypeVarBound,
    /// The constraints of a type variable.
    TypeVarConstraints,
    /// The default of a type parameter.
    TypeParamDefault,
}

impl UnitKind {
    /// The name of the kind in the facts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Class => "class",
            Self::Function => "function",
            Self::Lambda => "lambda",
            Self::GeneratorExpression => "genexpr",
            Self::ListComprehension => "listcomp",
            Self::SetComprehension => "setcomp",
            Self::DictComprehension => "dictcomp",
            Self::TypeParams => "type_params",
            Self::TypeAlias => "type_alias",
            Self::TypeVarBound => "type_var_bound",
            Self::TypeVarConstraints => "type_var_constraints",
            Self::TypeParamDefault => "type_param_default",
        }
    }
}

/// The code object and all code objects in its constants, each before its children, children in the order of the constants.
///
/// Only code objects that are constants themselves count, as the compiler has no others.
#[must_use]
pub fn units(root: &Code) -> Vec<Unit<'_>> {
    let module = Unit {
        code: root,
        parent: None,
        code_path: Vec::new(),
        const_index: None,
        qualpath: "<module>".to_owned(),
        kind: UnitKind::Module,
    };
    let mut units: Vec<Unit<'_>> = Vec::new();
    // Waiting units, the next one last. Not recursion: CPython nests a thousand lambdas if asked to.
    let mut waiting = vec![module];
    while let Some(unit) = waiting.pop() {
        let parent = units.len();
        let mut children: Vec<_> =
            unit.code.children().zip(0..).map(|(child, ordinal)| child_unit(&unit, parent, child, ordinal)).collect();
        classify_by_use(unit.code, &mut children);
        waiting.extend(children.into_iter().rev());
        units.push(unit);
    }
    units
}

fn child_unit<'a>(parent: &Unit<'a>, parent_index: usize, (const_index, code): (usize, &'a Code), ordinal: i32) -> Unit<'a> {
    let mut code_path = Vec::with_capacity(parent.code_path.len() + 1);
    code_path.extend_from_slice(&parent.code_path);
    code_path.push(ordinal);
    Unit {
        code,
        parent: Some(parent_index),
        code_path,
        const_index: Some(const_index),
        qualpath: format!("{}.{}@{}", parent.qualpath, code.name.to_text(), code.firstlineno),
        kind: kind_by_shape(code),
    }
}

/// What name and flags tell. Names in angle brackets are the compiler's own, since no identifier has them; a class body, unlike
/// every function, keeps its names in a dict.
fn kind_by_shape(code: &Code) -> UnitKind {
    match code.name.as_str().unwrap_or("") {
        "<lambda>" => UnitKind::Lambda,
        "<genexpr>" => UnitKind::GeneratorExpression,
        "<listcomp>" => UnitKind::ListComprehension,
        "<setcomp>" => UnitKind::SetComprehension,
        "<dictcomp>" => UnitKind::DictComprehension,
        name if name.starts_with("<generic parameters of ") => UnitKind::TypeParams,
        _ if code.has_flag(flag::OPTIMIZED) => UnitKind::Function,
        _ => UnitKind::Class,
    }
}

/// Tells the lazily evaluated parts of type parameters and aliases from functions. They bear the name of the parameter or alias
/// and look like functions; what gives them away is the intrinsic that their parent hands them to.
fn classify_by_use(parent: &Code, children: &mut [Unit<'_>]) {
    let has_intrinsic = |code: &[u8]| code.as_chunks().0.iter().any(|&[opcode, arg]| kind_by_intrinsic(opcode, arg.into()).is_some());
    if !children.iter().any(|child| child.kind == UnitKind::Function) || !has_intrinsic(&parent.code) {
        return;
    }
    let Ok(instructions) = unpack(&parent.code) else { return };
    // The constant whose function is at the top of the stack.
    let mut made = None;
    for instruction in instructions.map_while(Result::ok) {
        let arg = instruction.arg.and_then(|arg| usize::try_from(arg).ok());
        made = match (instruction.baseopcode, instruction.arg) {
            (op::LOAD_CONST, _) => arg.filter(|&index| matches!(parent.consts.get(index), Some(Const::Code(_)))),
            (op::MAKE_FUNCTION | op::SET_FUNCTION_ATTRIBUTE | op::EXTENDED_ARG, _) | (op::BUILD_TUPLE, Some(3)) => made,
            (op::CALL_INTRINSIC_1 | op::CALL_INTRINSIC_2, Some(arg)) => {
                let kind = kind_by_intrinsic(instruction.baseopcode, arg);
                let child = children.iter_mut().find(|child| child.const_index == made && child.kind == UnitKind::Function);
                if let (Some(_), Some(kind), Some(child)) = (made, kind, child) {
                    child.kind = kind;
                }
                None
            }
            _ => None,
        };
    }
}

fn kind_by_intrinsic(opcode: u8, arg: i32) -> Option<UnitKind> {
    let function = match opcode {
        op::CALL_INTRINSIC_1 => crate::opcode::intrinsic_1(arg),
        op::CALL_INTRINSIC_2 => crate::opcode::intrinsic_2(arg),
        _ => None,
    };
    match function? {
        "INTRINSIC_TYPEALIAS" => Some(UnitKind::TypeAlias),
        "INTRINSIC_TYPEVAR_WITH_BOUND" => Some(UnitKind::TypeVarBound),
        "INTRINSIC_TYPEVAR_WITH_CONSTRAINTS" => Some(UnitKind::TypeVarConstraints),
        "INTRINSIC_SET_TYPEPARAM_DEFAULT" => Some(UnitKind::TypeParamDefault),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{PyStr, code_of};

    fn named(name: &str, firstlineno: i32, flags: i32, consts: Vec<Const>) -> Code {
        Code { name: PyStr::from(name), firstlineno, flags, consts, ..code_of(&[]) }
    }

    #[test]
    fn units_come_before_their_children_and_are_told_apart_by_their_path() {
        let constant = |code| Const::Code(Box::new(code));
        let genexpr = || constant(named("<genexpr>", 5, flag::OPTIMIZED, Vec::new()));
        let method = constant(named("m", 5, flag::OPTIMIZED, vec![Const::None, genexpr(), genexpr()]));
        let class = constant(named("C", 3, 0, vec![method]));
        let module = named("<module>", 1, 0, vec![class, Const::None, constant(named("<lambda>", 9, flag::OPTIMIZED, Vec::new()))]);
        let found: Vec<_> = units(&module).into_iter().map(|unit| (unit.qualpath, unit.code_path, unit.parent, unit.kind)).collect();
        let expected = [
            ("<module>", vec![], None, UnitKind::Module),
            ("<module>.C@3", vec![0], Some(0), UnitKind::Class),
            ("<module>.C@3.m@5", vec![0, 0], Some(1), UnitKind::Function),
            ("<module>.C@3.m@5.<genexpr>@5", vec![0, 0, 0], Some(2), UnitKind::GeneratorExpression),
            ("<module>.C@3.m@5.<genexpr>@5", vec![0, 0, 1], Some(2), UnitKind::GeneratorExpression),
            ("<module>.<lambda>@9", vec![1], Some(0), UnitKind::Lambda),
        ];
        assert_eq!(found, expected.map(|(qualpath, path, parent, kind)| (qualpath.to_owned(), path, parent, kind)));
    }

    #[test]
    fn the_value_of_a_type_alias_is_told_from_a_function_by_what_is_made_of_it() {
        let constant = |name| Const::Code(Box::new(named(name, 1, flag::OPTIMIZED, Vec::new())));
        let alias = 11;
        let instructions = [
            [op::LOAD_CONST, 0],
            [op::MAKE_FUNCTION, 0],
            [op::BUILD_TUPLE, 3],
            [op::CALL_INTRINSIC_1, alias],
            [op::LOAD_CONST, 1],
            [op::MAKE_FUNCTION, 0],
            [op::STORE_NAME, 0],
        ];
        let module = Code { consts: vec![constant("A"), constant("f")], ..code_of(instructions.as_flattened()) };
        let kinds: Vec<_> = units(&module).iter().map(|unit| unit.kind).collect();
        assert_eq!(kinds, [UnitKind::Module, UnitKind::TypeAlias, UnitKind::Function]);
    }
}
