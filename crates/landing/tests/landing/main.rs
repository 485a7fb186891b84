//! Landing as a whole, on memory and on disk, with everything that may fail failing.
//!
//! (The modules say `cfg(test)` so that the lints know them for tests.)

#[cfg(test)]
mod audits;
#[cfg(test)]
mod commits;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod files;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod reuse;
#[cfg(test)]
mod s3;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod sweeps;
