//! What the row of a unit needs to know of its file.

use bytefacts_bytecode::unit::Unit;

use crate::{ids, source::SourceMap, unwritten::Unwritten};

/// The ids of a file's units.
pub(super) struct Ids<'a> {
    units: &'a [Unit<'a>],
    ids: Vec<String>,
    /// The positions of each unit's children, in the order of the constants.
    children: Vec<Vec<usize>>,
}

const NO_UNIT: Unwritten = Unwritten::Inconsistent("a position without a unit");

/// What a unit's row needs to know of its file.
pub(super) struct UnitContext<'a> {
    pub(super) ids: &'a Ids<'a>,
    /// The unit's position in the file.
    pub(super) index: usize,
    pub(super) path: &'a str,
    pub(super) source: Option<&'a SourceMap>,
    /// Bytes that the unit may take.
    pub(super) room: usize,
}

impl<'a> Ids<'a> {
    pub(super) fn new(units: &'a [Unit<'a>], file_id: &str) -> Self {
        let ids = units.iter().map(|unit| ids::code_unit_id(file_id, &unit.code_path, &unit.qualpath)).collect();
        let mut children = vec![Vec::new(); units.len()];
        for (index, unit) in units.iter().enumerate() {
            if let Some(siblings) = unit.parent.and_then(|parent| children.get_mut(parent)) {
                siblings.push(index);
            }
        }
        Self { units, ids, children }
    }

    /// The id of the unit at that position.
    pub(super) fn of(&self, index: usize) -> Result<&str, Unwritten> {
        self.ids.get(index).map(String::as_str).ok_or(NO_UNIT)
    }

    /// The id and the unit that encloses the one at that position; none encloses the module.
    pub(super) fn parent(&self, index: usize) -> Result<Option<(&str, &Unit<'a>)>, Unwritten> {
        let Some(parent) = self.units.get(index).ok_or(NO_UNIT)?.parent else { return Ok(None) };
        Ok(Some((self.of(parent)?, self.units.get(parent).ok_or(NO_UNIT)?)))
    }

    /// The slots of the code constants of the unit at that position, with the ids of their units, in order.
    pub(super) fn children(&self, index: usize) -> Result<Vec<(usize, &str)>, Unwritten> {
        let child = |child: &usize| Some((self.units.get(*child)?.const_index?, self.ids.get(*child)?.as_str()));
        self.children.get(index).into_iter().flatten().map(|at| child(at).ok_or(NO_UNIT)).collect()
    }
}
