//! The commands, one module each.

pub mod demo;
pub mod dis;
pub mod executor;
pub mod extract;
pub mod gc;
pub mod graph;
pub mod manual;
pub mod python;
pub mod runs;
pub mod scheduler;
pub mod sql;
pub mod validate;
