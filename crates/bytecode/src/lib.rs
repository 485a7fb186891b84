//! CPython 3.13 code objects in pure Rust: marshal, instructions, source positions, exception tables, control and data flow.
//!
//! The judge of everything here is CPython itself: `tests/oracle.rs` compares each field with what `dis` and `repr` say of every
//! code object of the standard library. Nothing here does I/O, and no input makes it panic: malformed code is an error with its
//! offset.
//!
//! ```
//! fn print(marshalled: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//!     let module = bytefacts_bytecode::marshal::read_code(marshalled)?;
//!     for unit in bytefacts_bytecode::units(&module) {
//!         println!("{} {}", unit.kind.as_str(), unit.qualpath);
//!         for instruction in bytefacts_bytecode::disassemble(unit.code)? {
//!             let mut argrepr = String::new();
//!             instruction.write_argrepr("pkg/mod.py", &mut argrepr);
//!             println!("{:>6} {:24} {argrepr}", instruction.offset, instruction.opname());
//!         }
//!     }
//!     Ok(())
//! }
//! ```

pub mod canonical;
pub mod exception_table;
pub mod flow;
pub mod instruction;
pub mod location;
pub mod marshal;
pub mod object;
pub mod opcode;
pub mod text;
pub mod unit;

pub use exception_table::ExceptionEntry;
pub use instruction::{ArgVal, Instruction, disassemble};
pub use location::{LineStart, Positions};
pub use object::{Code, Const, PyInt, PyStr};
pub use unit::{Unit, UnitKind, units};
