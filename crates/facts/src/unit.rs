//! What the analysis finds out about one unit, before any of it becomes a row.

use std::error::Error;

use bytefacts_bytecode::{
    exception_table::{self, ExceptionEntry},
    flow::{self, Flow, Terminators},
    instruction::{DisassembleError, Instruction, disassemble},
    location::{self, LineStart},
    object::Code,
    opcode,
    unit::Unit,
};

use crate::{input::FactError, unwritten::TooLarge};

/// The facts of a unit. What could not be decoded is empty, and an error says why.
pub(crate) struct UnitFacts<'a> {
    pub(crate) unit: &'a Unit<'a>,
    pub(crate) instructions: Vec<Instruction<'a>>,
    pub(crate) lines: Vec<LineStart>,
    pub(crate) exceptions: Vec<ExceptionEntry>,
    /// What is derived from the instructions, if it is asked for and there are any.
    pub(crate) flow: Option<Flow>,
    pub(crate) errors: Vec<FactError>,
}

impl<'a> UnitFacts<'a> {
    /// Decodes a unit; `code_unit_id` goes into its errors. With `terminators` given, derives control and data flow. Refuses, before it takes
    /// any memory, a unit whose instructions alone outgrow `room` bytes of rows.
    pub(crate) fn analyse(
        unit: &'a Unit<'a>,
        code_unit_id: &str,
        terminators: Option<&Terminators>,
        room: usize,
    ) -> Result<Self, TooLarge> {
        let code = unit.code;
        if instruction_count(code).saturating_mul(INSTRUCTION_BYTES) > room {
            return Err(TooLarge);
        }
        let mut errors = Vec::new();
        let mut note = |stage, error_type, error: &dyn Error| errors.push(unit_error(stage, error_type, error, code_unit_id));
        let lines = location::line_starts(code).unwrap_or_else(|error| {
            note("line_table", "LocationError", &error);
            Vec::new()
        });
        let exceptions = exception_table::parse(code).unwrap_or_else(|error| {
            note("exception_table", "ExceptionTableError", &error);
            Vec::new()
        });
        let instructions = disassemble(code).unwrap_or_else(|error| {
            // A damaged location table has been reported already.
            if !matches!(error, DisassembleError::Location(_)) {
                note("disassembly", "DisassembleError", &error);
            }
            Vec::new()
        });
        let terminators = terminators.filter(|_| !instructions.is_empty());
        let flow = terminators.map(|terminators| flow::analyze(code, &instructions, &exceptions, terminators));
        for violation in flow.iter().flat_map(|flow| &flow.violations) {
            errors.push(unit_error(violation.stage(), violation.name(), violation, code_unit_id));
        }
        Ok(Self { unit, instructions, lines, exceptions, flow, errors })
    }
}

/// What the row of an instruction takes at least: its numbers and offsets.
const INSTRUCTION_BYTES: usize = 180;

fn instruction_count(code: &Code) -> usize {
    let mut at = 0;
    let mut count = 0;
    while let Some(opcode) = code.code.get(at) {
        at += 2 + 2 * usize::from(opcode::cache_words(*opcode));
        count += 1;
    }
    count
}

fn unit_error(stage: &str, error_type: &str, error: &dyn Error, code_unit_id: &str) -> FactError {
    FactError {
        error_type: error_type.to_owned(),
        message: chain(error),
        stage: stage.to_owned(),
        code_unit_id: Some(code_unit_id.to_owned()),
        ..FactError::default()
    }
}

/// The messages of an error and of its causes.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    message
}
