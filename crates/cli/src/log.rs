//! Log lines: ours and Ballista's, on stderr, as text or as JSON.

use std::fmt;
use std::io::{self, IsTerminal as _};

use bytefacts_serve::AUDIT_LOG;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::args::Format;
use crate::exit::UsageError;

/// Sends log lines to stderr: those that `wanted`, the text of `BYTEFACTS_LOG`, lets through, else those that `default` does.
///
/// # Errors
/// When `wanted` is no filter.
pub fn start(wanted: Option<&str>, default: &str, format: Format) -> Result<(), UsageError> {
    let filter = filter(wanted, default)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // A log that was started already (in tests) stays.
    let _: Result<(), _> = match format {
        Format::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => log.event_format(Json).try_init(),
    };
    if ::log::set_logger(&Bridge).is_ok() {
        ::log::set_max_level(::log::LevelFilter::Info);
    }
    Ok(())
}

fn filter(wanted: Option<&str>, default: &str) -> Result<EnvFilter, UsageError> {
    // An empty variable counts as unset, as everywhere.
    let filter = match wanted.filter(|text| !text.trim().is_empty()) {
        None => EnvFilter::from(default),
        Some(wanted) => EnvFilter::try_new(wanted).map_err(|error| {
            UsageError(format!("BYTEFACTS_LOG: {wanted:?} is no filter: {error}; one is `info`, another `warn,bytefacts_engine=debug`"))
        })?,
    };
    // Who wants to see less of what a process does has not said that nobody is to know what it was asked: a setting says that.
    let always = format!("{AUDIT_LOG}=info").parse().map_err(|error| UsageError(format!("the audit log: {error}")))?;
    Ok(filter.add_directive(always))
}

/// What Ballista says through the `log` crate, as events of ours under the target `ballista`.
struct Bridge;

impl ::log::Log for Bridge {
    fn enabled(&self, metadata: &::log::Metadata) -> bool {
        metadata.target().starts_with("ballista")
    }

    fn log(&self, record: &::log::Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (module, text) = (record.target(), record.args());
        match record.level() {
            ::log::Level::Error => tracing::error!(target: "ballista", module, "{text}"),
            ::log::Level::Warn => tracing::warn!(target: "ballista", module, "{text}"),
            _ => tracing::info!(target: "ballista", module, "{text}"),
        }
    }

    fn flush(&self) {}
}

/// One object a line: time, level, target, message, and the fields of the event (run, bin, …) beside them.
struct Json;

impl<S: Subscriber + for<'a> LookupSpan<'a>, N: for<'a> FormatFields<'a> + 'static> FormatEvent<S, N> for Json {
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields(Map::new());
        fields.0.insert("timestamp".to_owned(), time.into());
        fields.0.insert("level".to_owned(), level(*event.metadata().level()).into());
        fields.0.insert("target".to_owned(), event.metadata().target().into());
        event.record(&mut fields);
        writeln!(writer, "{}", Value::Object(fields.0))
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_filter_that_is_none_is_refused() {
        for bad in ["bytefacts_engine=loud", "info,=,=", "warn,[x"] {
            let error = filter(Some(bad), "warn").unwrap_err().to_string();
            assert!(error.starts_with("BYTEFACTS_LOG: ") && error.contains(bad), "{error}");
        }
        let directives = |wanted: Option<&str>| {
            let filter = filter(wanted, "warn").unwrap().to_string();
            filter.split(',').map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let with_audit_log = |others: &str| BTreeSet::from([others.to_owned(), format!("{AUDIT_LOG}=info")]);
        assert_eq!(directives(Some("bytefacts_engine=debug")), with_audit_log("bytefacts_engine=debug"));
        for unset in [None, Some(""), Some(" ")] {
            assert_eq!(directives(unset), with_audit_log("warn"));
        }
        // Whoever wants to see nothing sees it all the same.
        assert_eq!(directives(Some("off")), with_audit_log("off"));
        assert_eq!(directives(Some("bytefacts::audit=off")), BTreeSet::from([format!("{AUDIT_LOG}=info")]));
    }
}
