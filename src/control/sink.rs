//! Where log lines end: a file that may be renamed under us, standard output, standard error, or nothing.
//!
//! A [`Sink`] has one owner, which may block: it lives on a log thread, never on a shard or on the reactor. It reopens its
//! file when [`Reopen::all`] was called (SIGUSR1), or when the path names another file than the one that is open.

use crate::base::limits;
use crate::plan::LogPath;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tells every [`Sink`] made with a clone of it to open its file anew before its next write.
#[derive(Clone, Debug, Default)]
pub struct Reopen(Arc<AtomicU64>);

impl Reopen {
    /// Reopens all files; returns at once, the log threads do it.
    pub fn all(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The end of a log.
#[derive(Debug)]
pub struct Sink {
    path: LogPath,
    /// `None`: off, or the file could not be opened last time.
    file: Option<File>,
    /// Device and inode of the open file; only of [`LogPath::File`].
    id: Option<(u64, u64)>,
    reopen: Reopen,
    reopened: u64,
    checked: Instant,
    /// Did the last write end within a line? Then the next one begins on a new line.
    torn: bool,
}

impl Sink {
    /// Opens `path`; files are created with mode 0644 and appended to.
    ///
    /// # Errors
    /// What the system said of the path.
    pub fn open(path: &LogPath, reopen: &Reopen) -> io::Result<Sink> {
        let mut sink = Sink {
            path: path.clone(),
            file: None,
            id: None,
            reopen: reopen.clone(),
            reopened: reopen.count(),
            checked: Instant::now(),
            torn: false,
        };
        sink.open_again()?;
        Ok(sink)
    }

    /// Writes whole lines. Blocks for as long as the disk or the reader of a pipe does.
    ///
    /// # Errors
    /// What the system said; some of `lines` may be written then. The next call tries again from scratch.
    pub fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.path == LogPath::Off {
            return Ok(());
        }
        if self.file.is_none() || self.is_stale() {
            // A path that cannot be opened any more costs the lines only if the old file is gone, too.
            let opened = self.open_again();
            if self.file.is_none() {
                opened?;
            }
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.torn {
            file.write_all(b"\n")?;
            self.torn = false;
        }
        let mut left = lines;
        while !left.is_empty() {
            match file.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => left = &left[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let sent = &lines[..lines.len() - left.len()];
                    self.torn = sent.last().is_some_and(|&byte| byte != b'\n');
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn is_stale(&mut self) -> bool {
        let asked = self.reopen.count();
        if asked != self.reopened {
            self.reopened = asked;
            return true;
        }
        let LogPath::File(path) = &self.path else { return false };
        if self.checked.elapsed() < Duration::from_millis(limits::LOG_RENAME_CHECK_MS) {
            return false;
        }
        self.checked = Instant::now();
        // A path that names nothing is stale, too: the file was moved away and has to be made again.
        std::fs::metadata(path).map_or(true, |now| Some((now.dev(), now.ino())) != self.id)
    }

    fn open_again(&mut self) -> io::Result<()> {
        let file = match &self.path {
            LogPath::Off => return Ok(()),
            // Duplicates of the descriptors: the standard handles put a lock and a buffer in between.
            LogPath::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            LogPath::Stderr => File::from(io::stderr().as_fd().try_clone_to_owned()?),
            LogPath::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                let meta = file.metadata()?;
                self.id = Some((meta.dev(), meta.ino()));
                file
            }
        };
        self.file = Some(file);
        self.torn = false;
        Ok(())
    }
}

/// One call, one batch of whole lines: for writers that pass formatted lines on.
impl Write for Sink {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.put(lines).map(|()| lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::folder;

    #[test]
    fn a_moved_file_is_made_again_when_asked() {
        let folder = folder("sink");
        let path = folder.join("a.log");
        let reopen = Reopen::default();
        let mut sink = Sink::open(&LogPath::File(path.display().to_string()), &reopen).unwrap();
        sink.put(b"one\n").unwrap();
        std::fs::rename(&path, folder.join("a.log.1")).unwrap();
        sink.put(b"two\n").unwrap();
        reopen.all();
        sink.put(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("a.log.1")).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn a_moved_file_is_noticed_without_being_asked() {
        let folder = folder("sink-rename");
        let path = folder.join("a.log");
        let mut sink = Sink::open(&LogPath::File(path.display().to_string()), &Reopen::default()).unwrap();
        sink.put(b"one\n").unwrap();
        std::fs::rename(&path, folder.join("a.log.1")).unwrap();
        sink.checked -= Duration::from_millis(limits::LOG_RENAME_CHECK_MS);
        sink.put(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_full_disk_is_an_error_and_not_the_end() {
        let mut sink = Sink::open(&LogPath::File("/dev/full".to_owned()), &Reopen::default()).unwrap();
        for _ in 0..2 {
            assert_eq!(sink.put(b"line\n").map_err(|e| e.kind()), Err(io::ErrorKind::StorageFull));
        }
    }

    #[test]
    fn nothing_is_written_nowhere() {
        let mut sink = Sink::open(&LogPath::Off, &Reopen::default()).unwrap();
        assert!(sink.put(b"line\n").is_ok());
    }
}
