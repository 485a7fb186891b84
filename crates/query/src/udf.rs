//! The two id functions that the views call: ids are derived in SQL and not stored, because 30 random bytes an instruction would be most of a file.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytefacts_facts::ids;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// Both functions, to register with a session.
#[must_use]
pub fn all() -> [ScalarUDF; 2] {
    [
        ScalarUDF::from(IdFunction::new("bytefacts_hash64", |text, out| write!(out, "{}", ids::hash64(text)))),
        ScalarUDF::from(IdFunction::new("bytefacts_hash128", |text, out| out.write_str(&ids::hash128(text)))),
    ]
}

type Hash = fn(&str, &mut StringBuilder) -> std::fmt::Result;

/// `name(prefix, part, …)`: the prefix followed by the hash of the parts, joined by `:`; a null part is an empty field.
/// A null first part (the unit or the thing itself is not there) makes the id null.
struct IdFunction {
    name: &'static str,
    hash: Hash,
    signature: Signature,
}

impl IdFunction {
    fn new(name: &'static str, hash: Hash) -> Self {
        Self { name, hash, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl std::fmt::Debug for IdFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
impl PartialEq for IdFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for IdFunction {}
impl std::hash::Hash for IdFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for IdFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [prefix, parts @ ..] = arrays.as_slice() else { return exec_err!("{} needs a prefix and at least one part", self.name) };
        let Some(first) = parts.first() else { return exec_err!("{} needs at least one part", self.name) };

        let options = FormatOptions::new();
        let prefix = ArrayFormatter::try_new(prefix.as_ref(), &options)?;
        let formatters = parts.iter().map(|p| ArrayFormatter::try_new(p.as_ref(), &options)).collect::<Result<Vec<_>, _>>()?;
        let mut out = StringBuilder::with_capacity(rows, rows * 28);
        let mut text = String::new();
        for row in 0..rows {
            if first.is_null(row) {
                out.append_null();
                continue;
            }
            text.clear();
            for (i, (part, formatter)) in parts.iter().zip(&formatters).enumerate() {
                if i > 0 {
                    text.push(':');
                }
                if !part.is_null(row) {
                    write!(text, "{}", formatter.value(row)).map_err(format_error)?;
                }
            }
            write!(out, "{}", prefix.value(row)).map_err(format_error)?;
            (self.hash)(&text, &mut out).map_err(format_error)?;
            out.append_value("");
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish()) as ArrayRef))
    }
}

fn format_error(error: std::fmt::Error) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::External(Box::new(error))
}
