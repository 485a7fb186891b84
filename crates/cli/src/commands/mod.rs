//! The commands, one module each.

pub mod demo;
pub mod dis;
pub mod extract;
pub mod python;
pub mod runs;
pub mod sql;
pub mod validate;
