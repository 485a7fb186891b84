//! `extract` and `demo`.

use clap::Args as ClapArgs;

use super::JobArgs;

/// Extract the facts of a corpus into a folder or bucket.
#[derive(Debug, ClapArgs)]
pub struct Extract {
    /// The corpus: a path, or a URI (file://, s3://, gs://, az://). Its first-level folders are the repositories, unless it is a single one: with
    /// `.git` or `pyproject.toml` in it, or by --repo.
    #[arg(required_unless_present = "resume")]
    pub corpus: Option<String>,
    /// Where the facts go: a path or a URI. Runs gather there; `bytefacts sql` reads the newest.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS")]
    pub out: String,
    /// Take the whole corpus as one repository of this name.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub repo: Option<String>,
    /// Take first-level folders as repositories, even where the corpus looks like a single one.
    #[arg(long, conflicts_with = "repo")]
    pub tree: bool,
    /// Let the run become current although the current one is of another corpus. Without it such a run is refused: whoever reads FACTS would find
    /// one corpus in the other's place.
    #[arg(long)]
    pub another_corpus: bool,
    /// Go on with a run that did not end, with the corpus and the options that it was started with; bins that are landed are not done again.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["corpus", "repo", "tree", "another_corpus", "include", "exclude", "extend_exclude",
        "virtual_environments", "respect_gitignore", "run_id", "optimize", "dont_inherit", "adaptive", "include_cfg_derivations", "terminator_opnames", "oracle", "parallel_min_files", "parallel_max_bytes"])]
    pub resume: Option<String>,
    /// Have a cluster do the work instead of the embedded one: its scheduler, as df://HOST:PORT. Executors must reach CORPUS and FACTS.
    #[arg(long, value_name = "URL", help_heading = "Cluster")]
    pub cluster: Option<String>,
    /// Which files are taken.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// When this client is ended, leave the job to the cluster; without it, the job ends too. Either way --resume goes on with the run and commits it.
    #[arg(long, help_heading = "Cluster")]
    pub detach: bool,
    /// The rest.
    #[command(flatten)]
    pub job: JobArgs,
}

/// Which files of a corpus are taken.
#[derive(Debug, Default, ClapArgs)]
pub struct SelectionArgs {
    /// Take files that match one of these glob patterns alone [default: *.py,*.pyw]. A pattern without a slash is matched with names, wherever they
    /// are, one with a slash with paths below CORPUS.
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',', help_heading = "File selection")]
    pub include: Option<Vec<String>>,
    /// Leave out files and folders that match one of these patterns, instead of what is left out by default: see `extract.exclude` in
    /// config/bytefacts.yaml. `.git` is always left out.
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',', help_heading = "File selection")]
    pub exclude: Option<Vec<String>>,
    /// Leave out these too.
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',', help_heading = "File selection")]
    pub extend_exclude: Vec<String>,
    /// Take virtual environments too: folders with a `pyvenv.cfg`.
    #[arg(long, help_heading = "File selection")]
    pub virtual_environments: bool,
    /// Leave out what `.gitignore` files in CORPUS name; for folders only.
    #[arg(long, help_heading = "File selection")]
    pub respect_gitignore: bool,
}

/// Extract the standard library and show what can be asked.
#[derive(Debug, ClapArgs)]
pub struct Demo {
    /// Where the facts go [default: a folder in the user's cache folder].
    #[arg(long, value_name = "FACTS")]
    pub out: Option<String>,
    /// Install CPython 3.13 into the user's cache folder if there is none, without asking.
    #[arg(long)]
    pub install_python: bool,
    /// The rest.
    #[command(flatten)]
    pub job: JobArgs,
}
