//! How data files are written.

/// How data files are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterOptions {
    /// Level of zstd; 1 is the cheapest.
    pub zstd_level: i32,
    /// Row groups are closed once their buffered pages take this many bytes. One row may take more. The same on every machine, whatever memory it has:
    /// where row groups end decides the bytes of a file, and two executors are to write the same.
    pub row_group_bytes: usize,
    /// Row groups are closed once they hold this many rows.
    pub row_group_rows: usize,
    /// A file that has this many bytes is closed, and the bin goes on in another.
    pub file_bytes: u64,
    /// So is a file with a leaf that takes this many bytes decoded: some readers hold a leaf of a whole file in offsets of 31 bits. The last row of a
    /// file may take it further, by what one source file may take at most.
    pub file_leaf_bytes: u64,
    /// Files larger than this are uploaded in parts of this size, in bytes; at least 5 MiB, which S3 demands.
    pub part_bytes: usize,
    /// Parts of one upload at the same time.
    pub concurrency: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            zstd_level: 1,
            row_group_bytes: 128 << 20,
            row_group_rows: 1 << 20,
            file_bytes: 1 << 30,
            file_leaf_bytes: 1 << 30,
            part_bytes: 8 << 20,
            concurrency: 4,
        }
    }
}
