//! Data files that a filter spares, by what the manifest says of them.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use bytefacts_landing::LandedFile;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

/// The files that may hold a row that passes the filter, by the names that they span. Skipping is no more than a help: where it does not work, all
/// are read.
pub(crate) fn select<'a>(files: &'a [LandedFile], filter: Option<&Arc<dyn PhysicalExpr>>, schema: &SchemaRef) -> Vec<&'a LandedFile> {
    let Some(filter) = filter else { return files.iter().collect() };
    let pruning = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).try_build(Arc::clone(filter));
    match pruning.and_then(|pruning| pruning.prune(&Spans(files))) {
        Ok(kept) => files.iter().zip(kept).filter_map(|(file, kept)| kept.then_some(file)).collect(),
        Err(error) => {
            tracing::debug!(%error, "no file can be skipped by this filter");
            files.iter().collect()
        }
    }
}

/// What the manifest says of the columns `repo` and `path` of each file. Rows are sorted by both, without a repository first.
struct Spans<'a>(&'a [LandedFile]);

impl Spans<'_> {
    fn texts<'b>(&'b self, of: impl Fn(&'b LandedFile) -> Option<&'b str>) -> ArrayRef {
        Arc::new(self.0.iter().map(of).collect::<StringArray>())
    }
}

/// Whether all rows are of one repository, or of none.
fn is_of_one(file: &LandedFile) -> bool {
    file.first.repo == file.last.repo
}

impl PruningStatistics for Spans<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        match column.name.as_str() {
            // Of a file that begins without a repository, the least that there may be is the empty text; if it ends so, there is none.
            "repo" => Some(self.texts(|file| file.last.repo.as_ref().map(|_| file.first.repo.as_deref().unwrap_or_default()))),
            "path" => Some(self.texts(|file| is_of_one(file).then_some(file.first.path.as_str()))),
            _ => None,
        }
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        match column.name.as_str() {
            "repo" => Some(self.texts(|file| file.last.repo.as_deref())),
            "path" => Some(self.texts(|file| is_of_one(file).then_some(file.last.path.as_str()))),
            _ => None,
        }
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let nulls = |file: &LandedFile| match column.name.as_str() {
            "path" => Some(0),
            "repo" if file.first.repo.is_some() => Some(0),
            "repo" if file.last.repo.is_none() => Some(file.rows),
            _ => None,
        };
        matches!(column.name.as_str(), "repo" | "path").then(|| Arc::new(self.0.iter().map(nulls).collect::<UInt64Array>()) as ArrayRef)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.0.iter().map(|file| Some(file.rows)).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytefacts_facts::schema as facts_schema;
    use bytefacts_landing::FileName;
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::Expr;
    use datafusion::prelude::{SessionContext, col, lit};

    use super::*;

    type Name = (Option<&'static str>, &'static str);

    /// Files from the first to the last of these names.
    fn files(spans: &[(Name, Name)]) -> Vec<LandedFile> {
        let name = |(repo, path): Name| FileName::new(repo, path);
        let file = |(number, (first, last)): (usize, &(Name, Name))| LandedFile {
            key: number.to_string(),
            rows: 5,
            bytes: 1,
            sha256: String::new(),
            first: name(*first),
            last: name(*last),
            elements: BTreeMap::new(),
        };
        spans.iter().enumerate().map(file).collect()
    }

    fn kept(files: &[LandedFile], filter: Expr) -> String {
        let schema = facts_schema();
        let columns = DFSchema::try_from(Arc::clone(&schema)).unwrap();
        let filter = SessionContext::new().create_physical_expr(filter, &columns).unwrap();
        select(files, Some(&filter), &schema).iter().map(|file| file.key.as_str()).collect()
    }

    #[test]
    fn a_filter_spares_the_files_that_cannot_have_a_row_for_it() {
        let files = files(&[
            ((None, "a.py"), (None, "z.py")),
            ((None, "b.py"), (Some("a"), "m.py")),
            ((Some("a"), "m.py"), (Some("a"), "z.py")),
            ((Some("a"), "z.py"), (Some("c"), "b.py")),
            ((Some("d"), "a.py"), (Some("d"), "c.py")),
        ]);
        assert_eq!(kept(&files, col("repo").eq(lit("a"))), "123");
        assert_eq!(kept(&files, col("repo").eq(lit("b"))), "3");
        assert_eq!(kept(&files, col("repo").eq(lit(""))), "1", "a repository of no name sorts behind no repository");
        assert_eq!(kept(&files, col("repo").eq(lit("x"))), "");
        assert_eq!(kept(&files, col("repo").is_null()), "01");
        assert_eq!(kept(&files, col("repo").is_not_null()), "1234");
        assert_eq!(kept(&files, col("repo").in_list(vec![lit("b"), lit("d")], false)), "34");
        assert_eq!(kept(&files, col("path").eq(lit("n.py"))), "0123");
        assert_eq!(kept(&files, col("path").lt(lit("a.py"))), "13");
        assert_eq!(kept(&files, col("repo").eq(lit("a")).and(col("path").gt(lit("n.py")))), "123");
        assert_eq!(kept(&files, col("repo").eq(lit("d")).or(col("path").eq(lit("0.py")))), "134");
        assert_eq!(kept(&files, col("file_id").eq(lit("x"))), "01234");
    }
}
