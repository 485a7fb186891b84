//! What went wrong, in the words of the shell.

use bytefacts_client::ClientError;
use bytefacts_query::Hints;
use datafusion::error::DataFusionError;

const HINTS: Hints = Hints {
    tables: "\\d lists the tables and views",
    columns: "\\d NAME lists the columns of a table or view",
    elsewhere: &[
        (
            "'datafusion.system.",
            "`system` is what a server tells of itself: ask one by --connect grpc://HOST:PORT (`bytefacts serve` starts one)",
        ),
        (
            "'runs.",
            "the catalog `runs` is a server's, which --connect grpc://HOST:PORT asks; over facts --run ID reads another run, and bytefacts.runs lists them",
        ),
        ("'facts.", "the catalog `facts` is a server's: over facts, leave it out"),
        ("namespace \"bytefacts\"", OPTIONS),
        ("'bytefacts.run' is not a variable", OPTIONS),
        ("'bytefacts.execution' is not a variable", OPTIONS),
        ("'bytefacts.compression' is not a variable", OPTIONS),
    ],
};

const OPTIONS: &str = "the options bytefacts.run, bytefacts.execution and bytefacts.compression are a server's, which --connect grpc://HOST:PORT asks; over facts --run ID reads another run";

/// The error as the command reports it; see [`explain`].
pub fn error(error: &DataFusionError, names: &[String]) -> anyhow::Error {
    anyhow::Error::msg(explain(error, names))
}

/// What went wrong, without DataFusion's noise, and a hint where one helps; `names` are the tables that there are. What a server says it has explained
/// itself.
pub fn explain(error: &DataFusionError, names: &[String]) -> String {
    if let DataFusionError::External(error) = error.find_root()
        && let Some(ClientError::Server(said)) = error.downcast_ref()
    {
        return said.clone();
    }
    bytefacts_query::explain(error, names, HINTS)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    /// As over facts, whose catalog has DataFusion's own name.
    #[tokio::test]
    async fn what_only_a_server_has_is_told_with_what_to_do() {
        let session = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
        for (sql, said) in [
            (
                "SELECT * FROM system.queries",
                "table 'system.queries' not found\nhint: `system` is what a server tells of itself: ask one by --connect",
            ),
            (
                "SELECT * FROM runs.\"night-1\".py_bc_calls",
                "table 'runs.night-1.py_bc_calls' not found\nhint: the catalog `runs` is a server's",
            ),
            (
                "SELECT * FROM facts.public.py_bc_calls",
                "table 'facts.public.py_bc_calls' not found\nhint: the catalog `facts` is a server's",
            ),
            ("SET bytefacts.run = 'x'", "\nhint: the options bytefacts.run, bytefacts.execution and bytefacts.compression are a server's"),
            (
                "RESET bytefacts.execution",
                "\nhint: the options bytefacts.run, bytefacts.execution and bytefacts.compression are a server's",
            ),
            ("SHOW bytefacts.run", "'bytefacts.run' is not a variable which can be viewed with 'SHOW'\nhint: the options"),
            ("SHOW bytefacts.execution", "'bytefacts.execution' is not a variable which can be viewed with 'SHOW'\nhint: the options"),
        ] {
            let result = async { session.sql(sql).await?.collect().await };
            let found = explain(&result.await.unwrap_err(), &["py_bc_calls".to_owned()]);
            assert!(found.contains(said) && found.matches("hint: ").count() == 1 && !found.contains("did you mean"), "{sql}: {found}");
        }
    }

    #[test]
    fn what_a_server_has_explained_has_no_hint_of_the_shell() {
        for said in ["No field named x.\nhint: SHOW COLUMNS FROM NAME lists the columns of a table or view", "table 'runs.n.x' not found"] {
            assert_eq!(explain(&ClientError::Server(said.to_owned()).into(), &["x".to_owned()]), said);
        }
    }
}
