//! The program's own log: text lines with time, level, message and fields, to standard error or a file.
//!
//! Lines are handed to a thread of their own over a bounded queue; when a disk is stuck, lines are dropped and counted,
//! and nobody who logs waits. The level comes from the plan and may change at a reload; the environment variable
//! [`LEVEL_VARIABLE`] overrides it.

use super::board::Reading;
use super::sink::{Reopen, Sink};
use crate::base::limits;
use crate::plan::{Level, LogPath};
use std::io::{self, IsTerminal};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, reload, EnvFilter, Registry};

/// Directives such as `debug` or `info,ringway::control=debug`; they win over the configured level.
pub const LEVEL_VARIABLE: &str = "RINGWAY_LOG";

/// The running log. Dropping it writes what is queued.
pub struct Journal {
    filter: reload::Handle<EnvFilter, Registry>,
    dropped: ErrorCounter,
    _guard: WorkerGuard,
}

impl Journal {
    /// Opens `path` and makes it the log of the whole process; once per process.
    ///
    /// # Errors
    /// What the system said of the path, or that there is a log already.
    pub fn start(path: &LogPath, level: Level, reopen: &Reopen) -> io::Result<Journal> {
        let sink = Sink::open(path, reopen)?;
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(limits::JOURNAL_LINES_MAX)
            .thread_name("journal")
            .finish(sink);
        let dropped = writer.error_counter();
        let colours = *path == LogPath::Stderr && io::stderr().is_terminal();
        let (filter, handle) = reload::Layer::new(filter(level));
        let lines = fmt::layer().with_writer(writer).with_ansi(colours).with_target(false);
        tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(io::Error::other)?;
        Ok(Journal { filter: handle, dropped, _guard: guard })
    }

    /// Changes the lowest level that is written, unless the environment has fixed it.
    pub fn set_level(&self, level: Level) {
        // Fails only when the subscriber is gone, and then there is no one to tell.
        let _ = self.filter.reload(filter(level));
    }

    /// Its counters, for metrics.
    pub fn readings(&self) -> Vec<Reading> {
        let dropped = self.dropped.clone();
        vec![("log_lines_dropped_total", Box::new(move || dropped.dropped_lines() as u64))]
    }
}

fn filter(level: Level) -> EnvFilter {
    if let Some(fixed) = std::env::var(LEVEL_VARIABLE).ok().filter(|text| !text.is_empty()) {
        match EnvFilter::try_new(&fixed) {
            Ok(filter) => return filter,
            // The log is not up yet, or this very filter is being replaced: standard error is all there is.
            Err(error) => eprintln!("ringway: {LEVEL_VARIABLE}={fixed}: {error}; the configured level is used"),
        }
    }
    EnvFilter::new(directives(level))
}

/// Libraries speak one level lower than we do: their warnings describe single look-ups and connections.
fn directives(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug,h2=info,hickory_net=info,hickory_proto=info,hickory_resolver=info,hyper=info",
        Level::Info => "info,h2=error,hickory_net=error,hickory_proto=error,hickory_resolver=error,hyper=error",
        Level::Warn => "warn,h2=error,hickory_net=error,hickory_proto=error,hickory_resolver=error,hyper=error",
        Level::Error => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_a_filter() {
        for level in [Level::Debug, Level::Info, Level::Warn, Level::Error] {
            assert!(EnvFilter::try_new(directives(level)).is_ok(), "{level:?}");
        }
    }
}
