//! What a service tells on standard error: which lines, and in which form.

use std::fmt;
use std::io;
use std::panic::PanicHookInfo;

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};

use super::machine;

/// How the service tells what it does.
#[derive(Args)]
pub(super) struct LogArguments {
    /// Form of what is told on standard error; json is one object a line, and nothing else
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text", env = "SEALSTONE_LOG_FORMAT")]
    log_format: LogFormat,
    /// From which level on; info has a line for each request [default: info for json, warn for text]
    #[arg(long, value_enum, value_name = "LEVEL", env = "SEALSTONE_LOG_LEVEL")]
    log_level: Option<LogLevel>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

impl LogArguments {
    /// Whether nothing but JSON may be told.
    pub(super) fn is_json(&self) -> bool {
        self.log_format == LogFormat::Json
    }

    fn level(&self) -> LevelFilter {
        match (self.log_level, self.log_format) {
            (Some(LogLevel::Error), _) => LevelFilter::ERROR,
            (Some(LogLevel::Warn), _) | (None, LogFormat::Text) => LevelFilter::WARN,
            (Some(LogLevel::Info), _) | (None, LogFormat::Json) => LevelFilter::INFO,
            (Some(LogLevel::Debug), _) => LevelFilter::DEBUG,
        }
    }

    /// From now on lines are written. Only ours: what libraries would tell may carry what was sent.
    pub(super) fn begin(&self) {
        let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), self.level());
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(false)
            .with_target(false)
            .with_timer(Clock)
            .log_internal_errors(false);
        let lines = if self.is_json() {
            std::panic::set_hook(Box::new(tell_panic));
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        } else {
            lines.boxed()
        };
        let lines = tracing_subscriber::registry().with(lines.with_filter(ours));
        // A process serves once.
        let _ = tracing::subscriber::set_global_default(lines);
    }
}

/// Where it was, and not what it says: that may be of what was sent.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string);
    tracing::error!(at, "a part of the service panicked; please report it");
}

/// This machine's clock, in the one form that times have here.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", machine::now())
    }
}
