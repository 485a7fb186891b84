//! What a pool is given to judge, and what comes of it.

use bytes::Bytes;

/// A unit to be judged: see [`Pool::judge`](crate::Pool::judge).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgeable {
    /// The source.
    pub source: Bytes,
    /// The path that stands for `co_filename` in texts.
    pub path: String,
    /// Whether `dis` shows adaptive instructions.
    pub adaptive: bool,
}

/// What arrives of a judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// The judgement begins; what came before, from a worker that died, does not count.
    Begin,
    /// A frame of facts: JSON of the form that `oracle.py` describes.
    Facts(Bytes),
}
