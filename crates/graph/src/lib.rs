//! Pictures of control flow graphs.
//!
//! A [`Graph`] is a plain description: blocks with rows of text, edges between them, and on demand the data flow between their
//! instructions. [`svg`] lays it out and draws it; [`dot`] writes it for Graphviz. Nothing here does I/O or knows bytecode, and the
//! same description gives the same bytes, in whatever order its blocks and edges come.
//!
//! The layout (`layout`) is layered, after Sugiyama, Tagawa and Toda: blocks lie in layers by their longest path from the entry,
//! edges run in the channels between the layers and never through a block, and what leads back up runs beside its loop.
//!
//! Why not a library: the ones in pure Rust that draw layered graphs know neither boxes with ports nor lines that join, and a
//! handler that covers forty blocks is unreadable without.

mod dot;
mod layout;
mod model;
mod svg;
#[cfg(test)]
mod tests;
mod text;

pub use dot::dot;
pub use model::{Edge, EdgeKind, Graph, GraphError, Heading, Instruction, Node, Role, Row, Use};
pub use svg::svg;
