//! The checks, by name.

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckSeverity {
    /// The facts contradict the contract.
    Error,
    /// The facts are right, what is said about them is not.
    Warning,
}

impl CheckSeverity {
    /// `error` or `warning`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Stages of error rows.
const LINE_TABLE: &str = "line_table";
const EXCEPTION_TABLE: &str = "exception_table";
const STACK_EFFECT: &str = "stack_effect";

macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $noun:literal $(, excused by $($stage:expr),+)?;)+) => {
        /// A check. Its documentation is what it demands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Check {
            /// All checks, in the order in which they are reported.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name, such as `block.partition`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it looks at, in the plural.
            #[must_use]
            pub fn noun(self) -> &'static str {
                match self { $(Self::$variant => $noun),+ }
            }

            /// What it demands.
            #[must_use]
            pub fn demand(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }

            /// The stages of error rows that allow a unit to break it. An error of stage `disassembly` allows all of these.
            pub(super) fn excuses(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($($stage),+)?]),+ }
            }
        }
    };
}

checks! {
    /// Each data file of the manifest is there, in the size that the manifest says.
    FilePresent = "file.present", "data files";
    /// Its SHA-256 is the one of the manifest.
    FileSha256 = "file.sha256", "data files";
    /// It is Parquet that can be read to its end.
    FileReadable = "file.readable", "data files";
    /// What it says of its values (counts, bounds, where pages begin), by which readers skip, is so.
    FileStatistics = "file.statistics", "data files";
    /// It has as many rows as the manifest says.
    FileRows = "file.rows", "data files";
    /// Each of its lists and maps has as many elements as the manifest says, if it says so: rows of views are counted by them.
    FileElements = "file.elements", "data files";
    /// It begins and ends with the rows that the manifest says, which scans skip it by.
    FileSpan = "file.span", "data files";
    /// The types, names and order of every nested path are those of the contract.
    SchemaFile = "schema.file", "data files";
    /// So are the nullability of every path and the metadata of the schema and of its fields.
    SchemaMetadata = "schema.metadata", "data files";
    /// `information_schema.columns` has the columns of the root table and of every view by name, order and type.
    SchemaCatalog = "schema.catalog", "columns";
    /// `arrow_typeof` of every column of the root table and of every view is the type of the contract.
    SchemaTypes = "schema.arrow_typeof", "columns";
    /// The snapshot of the schema that the run recorded is there and is what its digest says.
    SchemaSnapshot = "schema.snapshot", "snapshots";

    /// The report and the tables that a concluded audit of the run names are there, and are what their SHA-256 says.
    AuditDocuments = "audit.documents", "documents";
    /// A concluded audit of the run is of the run's digest, and its verdicts are one for each file and condition.
    AuditVerdicts = "audit.verdicts", "audits";
    /// The tables of a concluded audit hold the verdicts that its header counts.
    AuditTables = "audit.tables", "tables";

    /// Files listed in the run's bins = rows written: each once, no others.
    RunFiles = "run.files", "files";
    /// The figures of the manifest equal those counted from the rows.
    RunTotals = "run.totals", "figures";
    /// The digest of the run folds from the digests of its repositories.
    DigestRun = "digest.run", "runs";
    /// The digest of a repository folds from the digests of its files' rows.
    DigestRepository = "digest.repository", "repositories";
    /// The digest of a file folds from its source's hash, its units' digests and its errors.
    DigestFile = "digest.file", "files";

    /// Non-null columns hold no null, at any depth.
    RowRequired = "row.required", "values";
    /// Rows are sorted by repository, path and file_id.
    RowOrder = "row.order", "files";
    /// All rows of a run have the same attributes, those of the contract.
    RowAttrs = "row.attrs", "files";
    /// A file without units has an error row that says why; one with units begins with its module.
    RowExplained = "row.explained", "files";
    /// Error rows have a known severity and, as errors, a stage of the contract.
    ErrorStage = "error.stage", "errors";

    /// file_id is the hash of repository and path, and unique in the run.
    UniqueFile = "id.file_id", "ids";
    /// code_unit_id is the hash of file, code path and qualpath, and unique in the run.
    UniqueUnit = "id.code_unit_id", "ids";
    /// instr_id is unique in the run.
    UniqueInstr = "id.instr_id", "ids";
    /// exc_entry_id is unique in the run.
    UniqueException = "id.exc_entry_id", "ids";
    /// block_id is unique in the run.
    UniqueBlock = "id.block_id", "ids";
    /// edge_id of control-flow edges is unique in the run.
    UniqueEdge = "id.edge_id", "ids";
    /// edge_id of data-flow edges is unique in the run.
    UniqueDataEdge = "id.dfg_edge_id", "ids";
    /// const_id is unique in the run.
    UniqueConst = "id.const_id", "ids";
    /// cache_entry_id is unique in the run.
    UniqueCache = "id.cache_entry_id", "ids";
    /// event_id is unique in the run.
    UniqueEvent = "id.event_id", "ids";
    /// The legacy code_id is the hash of qualpath, name and line.
    LegacyId = "id.code_id", "units";

    /// parent_code_unit_id is the unit one step up the code path, and null for the module alone.
    ReferenceParent = "reference.parent_unit", "units";
    /// child_code_unit_id of a code constant is a unit whose parent this one is, and null for other constants.
    ReferenceChild = "reference.child_unit", "constants";
    /// code_unit_id of an error is a unit of the file.
    ReferenceErrorUnit = "reference.error_unit", "errors";
    /// The block of an instruction is a block of the unit that holds it.
    ReferenceBlock = "reference.block", "instructions", excused by LINE_TABLE;
    /// The ends of a control-flow edge are blocks, its condition an instruction, its exception entry an entry of the unit.
    ReferenceEdge = "reference.cfg_edge", "edges", excused by LINE_TABLE, EXCEPTION_TABLE;
    /// The ends of a data-flow edge are instructions of the unit, by index and offset; an argument has index -1 and no offset.
    ReferenceDataEdge = "reference.dfg_edge", "edges", excused by LINE_TABLE;
    /// The instruction of an event is one of the unit, by index and offset; events of arguments come first and have none.
    ReferenceEvent = "reference.event", "events", excused by LINE_TABLE;

    /// Units come in pre-order, and qualpath is the parent's with name and line behind it.
    UnitOrder = "unit.order", "units";
    /// Counts and flags of a unit agree with its lists: nlocals, flags_detail, const_index.
    UnitHeader = "unit.header", "units";
    /// instr_index counts from 0, and instructions with their caches follow each other without a gap from 0 to code_len.
    InstrContiguous = "instruction.contiguous", "instructions", excused by LINE_TABLE;
    /// The bytes of an inline cache are as many as its size says.
    InstrCache = "instruction.cache", "cache entries", excused by LINE_TABLE;
    /// A jump leads to an instruction, and argval_int repeats the target.
    InstrJump = "instruction.jump", "jumps", excused by LINE_TABLE;
    /// Labels number the jump targets in order.
    InstrLabel = "instruction.label", "instructions", excused by LINE_TABLE;

    /// Line numbers lie within the file.
    LineInFile = "line.in_file", "line numbers";
    /// Spans lie within the file and do not end before they start, in lines as in bytes.
    LineSpan = "line.span", "spans";
    /// Line starts are in order, each at an instruction, and starts_line says the same.
    LineTable = "line.table", "line starts", excused by LINE_TABLE;

    /// Entries of the exception table are in order, cover whole instructions and lead to one.
    Exception = "exception.table", "entries", excused by LINE_TABLE, EXCEPTION_TABLE;
    /// Every exception target is a handler block, and every handler block is a target.
    BlockHandler = "block.handler", "entries and handlers", excused by LINE_TABLE, EXCEPTION_TABLE;
    /// Blocks partition [0, code_len).
    BlockPartition = "block.partition", "blocks", excused by LINE_TABLE;
    /// There is one entry block, the first.
    BlockEntry = "block.entry", "units", excused by LINE_TABLE;
    /// block_index counts from 0; first and last instruction are those at the block's borders.
    BlockInstr = "block.instructions", "blocks", excused by LINE_TABLE;
    /// Each jump target starts a block, and a block ends after every jump and every terminator.
    BlockBorder = "block.border", "jumps and terminators", excused by LINE_TABLE;
    /// is_exit says whether a block ends in a terminator, is_reachable whether edges lead there from the entry.
    BlockReach = "block.reachable", "blocks", excused by LINE_TABLE;
    /// The immediate dominator dominates every way into the block; the entry and unreachable blocks have none.
    BlockDominator = "block.dominator", "blocks", excused by LINE_TABLE;
    /// Loop depth is null where unreachable, and otherwise the number of loops around the block.
    BlockLoop = "block.loop_depth", "blocks", excused by LINE_TABLE;
    /// The edges are those that the last instructions of the blocks and the exception table make, each once.
    EdgeComplete = "edge.complete", "edges", excused by LINE_TABLE, EXCEPTION_TABLE;
    /// edge_key, condition, polarity and is_back_edge of an edge say what it is.
    EdgeDetail = "edge.detail", "edges", excused by LINE_TABLE, EXCEPTION_TABLE;

    /// The stack depth is never negative, never above co_stacksize, and null where the code is unreachable.
    StackDepth = "stack.depth", "instructions", excused by LINE_TABLE, EXCEPTION_TABLE, STACK_EFFECT;
    /// The depth changes by pushes - pops along a block, and all ways into a block agree about it.
    StackEffect = "stack.effect", "instructions and edges", excused by LINE_TABLE, EXCEPTION_TABLE, STACK_EFFECT;
    /// max_stack_depth is the greatest depth, and not above co_stacksize.
    StackMaximum = "stack.maximum", "units", excused by LINE_TABLE, EXCEPTION_TABLE, STACK_EFFECT;
    /// Every operand of a reachable instruction has a producer, and no edge is for an operand that there is not.
    DataOperand = "data.operand", "operands", excused by LINE_TABLE, EXCEPTION_TABLE, STACK_EFFECT;
    /// Kind, symbol and producer of a data-flow edge go together.
    DataDetail = "data.detail", "edges", excused by LINE_TABLE;
    /// Kind and namespace of an event are those of the contract, and event_index counts from 0.
    EventDetail = "event.detail", "events", excused by LINE_TABLE;
    /// A run without derivations has no blocks, edges, depths and events.
    Derivations = "derivation.absent", "units";
}

impl Check {
    /// How much its findings weigh.
    #[must_use]
    pub fn severity(self) -> CheckSeverity {
        match self {
            Self::SchemaMetadata | Self::SchemaSnapshot => CheckSeverity::Warning,
            _ => CheckSeverity::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_demands_are_sentences() {
        let mut names: Vec<_> = Check::ALL.iter().map(|check| check.name()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        for check in Check::ALL {
            assert!(check.demand().ends_with('.') && !check.noun().is_empty(), "{check:?}");
        }
    }
}
