//! The commands, one module each.

pub mod audit;
pub mod cancel;
pub mod config;
pub mod demo;
pub mod diff;
pub mod dis;
pub mod doctor;
pub mod executor;
pub mod executors;
pub mod extract;
pub mod gc;
pub mod graph;
pub mod jobs;
pub mod manual;
pub mod pyc;
pub mod python;
pub mod runs;
pub mod scheduler;
pub mod serve;
pub mod sql;
pub mod status;
pub mod trial;
pub mod validate;
