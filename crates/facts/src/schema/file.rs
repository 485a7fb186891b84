//! The root row, one per file, and its errors.

use super::{
    code_object::CODE_OBJECT,
    column::{
        Kind::{Int32, Int64, List, Map, Text},
        Record, nullable, required,
    },
};

/// The root row: one per file of the corpus, whether it compiles or not. Files are sorted by (path, file_id).
pub const FILE: Record = Record {
    name: "FILE",
    columns: &[
        nullable("repo", Text, "repository key in the corpus; the partition column; null for a corpus without one"),
        required("path", Text, "path inside the repository, separated by `/`"),
        required("file_id", Text, "`file:` + hash128 of `file`, the repository if there is one, and the path, joined by U+001F"),
        nullable("file_sha256", Text, "SHA-256 of the raw bytes in lower hex; null if they could not be read"),
        nullable("code_objects", List(&CODE_OBJECT), "units in pre-order over `co_consts`; empty when compiling failed"),
        nullable("errors", List(&ERROR), "structured errors and warnings; empty when there are none"),
        nullable("attrs", Map, "interpreter, options and analyzer of the run: see `RunAttrs`"),
        nullable(
            "facts_digest",
            Text,
            "BLAKE2b-256 in lower hex over the digests of the units and what failed; independent of path and repository",
        ),
        nullable(
            "marshal_digest",
            Text,
            "BLAKE2b-256 in lower hex over the raw marshalled bytes; may differ where the facts do not; null without code",
        ),
        nullable("source_bytes", Int64, "size of the raw source in bytes; null if it could not be read"),
        nullable(
            "source_lines",
            Int32,
            "lines of the raw source: LF, CRLF and a lone CR end one. CPython's own lines, unless a codec makes or hides line ends, as \
             `unicode_escape` does; null if it could not be read",
        ),
    ],
};

/// What went wrong with a file or one of its units. A SyntaxWarning is a row of severity `warning`.
pub const ERROR: Record = Record {
    name: "ERROR",
    columns: &[
        required("error_type", Text, "the exception's class name, or a name of ours (`FactsTooLarge`: more than 512 MiB of facts)"),
        required("message", Text, "the message, free of addresses and machine paths"),
        nullable("attrs", Map, "whatever else is known; mostly empty"),
        nullable(
            "stage",
            Text,
            "`read`, `decode`, `compile`, `marshal`, `disassembly`, `exception_table`, `line_table`, `stack_effect`, `quarantine`, `oracle`",
        ),
        nullable("line1", Int32, "1-based line"),
        nullable("col", Int32, "0-based column in Unicode characters"),
        nullable("end_line1", Int32, "1-based end line"),
        nullable("end_col", Int32, "0-based exclusive end column in Unicode characters"),
        nullable("source_line", Text, "the text of the line, as the compiler quotes it"),
        nullable("code_unit_id", Text, "the unit concerned; null when it is the whole file"),
        nullable("severity", Text, "`error` or `warning`"),
    ],
};
