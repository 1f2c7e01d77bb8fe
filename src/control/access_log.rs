//! The writer of the access log: one thread that carries lines from the shards' rings to the file.
//!
//! Every shard has a ring of bytes and pushes whole lines into it, or drops and counts them when the ring is full; it
//! never waits and never wakes anybody. The thread looks at all rings in turn, sleeps a little longer each time it finds
//! nothing, and writes what it found at once. What a full disk costs is counted, and said once.

use super::sink::{Reopen, Sink};
use crate::base::limits;
use crate::plan::LogPath;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::Duration;

/// The running writer.
#[derive(Debug)]
pub struct AccessLog {
    stop: Arc<AtomicBool>,
    /// Hangs up when the thread has ended.
    ended: Receiver<()>,
    thread: Thread,
    tally: Arc<Tally>,
}

/// What the writer has done so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes written.
    pub bytes: AtomicU64,
    /// Lines lost because a write failed. Lines that a full ring refused are counted by the shards.
    pub lines_lost: AtomicU64,
    /// Writes that failed.
    pub errors: AtomicU64,
}

impl AccessLog {
    /// Opens `path` and starts the thread; a ring's producer may only push whole lines (`push_entire_slice`).
    ///
    /// # Errors
    /// What the system said of the path, or of the thread.
    pub fn start(path: &LogPath, rings: Vec<rtrb::Consumer<u8>>, reopen: &Reopen) -> io::Result<AccessLog> {
        let sink = Sink::open(path, reopen)?;
        let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::default()));
        let (hang_up, ended) = sync_channel(0);
        let mut writer = Writer { rings, sink, tally: tally.clone(), failing: false, gathered: Vec::new() };
        let told = stop.clone();
        let handle = thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            writer.run(&told);
            drop(hang_up);
        })?;
        Ok(AccessLog { stop, ended, thread: handle.thread().clone(), tally })
    }

    /// Its counters, for metrics.
    pub fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }

    /// Writes what the rings still hold and ends; waits for [`limits::ACCESS_LOG_FLUSH_MS`] at most. Call it when no
    /// shard logs any more. Was everything written in time?
    pub fn stop(self) -> bool {
        self.stop.store(true, Ordering::Release);
        self.thread.unpark();
        let wait = Duration::from_millis(limits::ACCESS_LOG_FLUSH_MS);
        matches!(self.ended.recv_timeout(wait), Err(RecvTimeoutError::Disconnected))
    }
}

struct Writer {
    rings: Vec<rtrb::Consumer<u8>>,
    sink: Sink,
    tally: Arc<Tally>,
    /// Did the last write fail? An error is said when it begins and when it ends, not for every line.
    failing: bool,
    gathered: Vec<u8>,
}

impl Writer {
    fn run(&mut self, stop: &AtomicBool) {
        let (nap_min, nap_max) = limits::ACCESS_LOG_NAP_MS;
        let mut nap = nap_min;
        loop {
            // Read before the rings: what was pushed before the flag was set is then found below.
            let last = stop.load(Ordering::Acquire) || self.rings.iter().all(rtrb::Consumer::is_abandoned);
            if self.gather() {
                self.write();
                nap = nap_min;
                continue;
            }
            if last {
                return;
            }
            thread::park_timeout(Duration::from_millis(nap));
            nap = (nap * 2).min(nap_max);
        }
    }

    /// Empties ring after ring until there is enough for a write. A ring is emptied whole, so that no line is cut.
    fn gather(&mut self) -> bool {
        self.gathered.clear();
        for ring in &mut self.rings {
            if let Ok(chunk) = ring.read_chunk(ring.slots()) {
                let (head, tail) = chunk.as_slices();
                self.gathered.extend_from_slice(head);
                self.gathered.extend_from_slice(tail);
                chunk.commit_all();
            }
            if self.gathered.len() >= limits::ACCESS_LOG_WRITE_BYTES {
                break;
            }
        }
        // The first rings must not starve the last ones while there is more than a write's worth in each.
        if !self.rings.is_empty() {
            self.rings.rotate_left(1);
        }
        !self.gathered.is_empty()
    }

    fn write(&mut self) {
        match self.sink.put(&self.gathered) {
            Ok(()) => {
                self.tally.bytes.fetch_add(self.gathered.len() as u64, Ordering::Relaxed);
                if std::mem::replace(&mut self.failing, false) {
                    let lost = self.tally.lines_lost.load(Ordering::Relaxed);
                    tracing::info!(lines_lost = lost, "the access log is written again");
                }
            }
            Err(error) => {
                let lines = memchr::memchr_iter(b'\n', &self.gathered).count() as u64;
                self.tally.lines_lost.fetch_add(lines, Ordering::Relaxed);
                self.tally.errors.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "cannot write the access log; lines are lost until it can be written again");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::folder;
    use std::collections::HashMap;

    fn push(ring: &mut rtrb::Producer<u8>, line: &str) {
        while ring.push_entire_slice(line.as_bytes()).is_err() {
            thread::yield_now();
        }
    }

    #[test]
    fn every_line_of_every_shard_arrives_whole_and_in_order() {
        let path = folder("access-log").join("access.log");
        let (mut producers, consumers): (Vec<_>, Vec<_>) = (0..4).map(|_| rtrb::RingBuffer::new(4096)).unzip();
        let log = AccessLog::start(&LogPath::File(path.display().to_string()), consumers, &Reopen::default()).unwrap();
        let shards: Vec<_> = producers
            .drain(..)
            .enumerate()
            .map(|(shard, mut ring)| {
                thread::spawn(move || {
                    for n in 0..5000 {
                        push(&mut ring, &format!("{shard} {n} {}\n", "x".repeat(n % 97)));
                    }
                    ring
                })
            })
            .collect();
        let rings: Vec<_> = shards.into_iter().map(|shard| shard.join().unwrap()).collect();
        let tally = log.tally();
        assert!(log.stop(), "the rings were not written in time");
        drop(rings);
        let text = std::fs::read_to_string(path).unwrap();
        let mut next: HashMap<&str, usize> = HashMap::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let n = next.entry(words[0]).or_default();
            assert_eq!((words[1].parse(), words[2].len()), (Ok(*n), *n % 97), "{line}");
            *n += 1;
        }
        assert_eq!(next.values().collect::<Vec<_>>(), [&5000; 4]);
        assert_eq!(tally.bytes.load(Ordering::Relaxed), text.len() as u64);
    }

    #[test]
    fn a_full_disk_is_counted_and_blocks_nobody() {
        let (mut ring, consumer) = rtrb::RingBuffer::new(4096);
        let log = AccessLog::start(&LogPath::File("/dev/full".to_owned()), vec![consumer], &Reopen::default()).unwrap();
        let tally = log.tally();
        for n in 0..1000 {
            push(&mut ring, &format!("line {n}\n"));
        }
        assert!(log.stop());
        assert_eq!(tally.lines_lost.load(Ordering::Relaxed), 1000);
        assert_eq!(tally.bytes.load(Ordering::Relaxed), 0);
        assert!(tally.errors.load(Ordering::Relaxed) > 0);
    }

    #[test]
    fn the_thread_ends_when_all_shards_are_gone() {
        let (ring, consumer) = rtrb::RingBuffer::new(64);
        let log = AccessLog::start(&LogPath::Off, vec![consumer], &Reopen::default()).unwrap();
        drop(ring);
        assert_eq!(log.ended.recv_timeout(Duration::from_secs(5)), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn a_stuck_reader_does_not_hold_the_end_of_the_process() {
        // A FIFO that is open but never read: the writer blocks in write(2) once its 64 KiB are full.
        let path = folder("access-log-fifo").join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let keep = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let (mut ring, consumer) = rtrb::RingBuffer::new(256 * 1024);
        let log =
            AccessLog::start(&LogPath::File(path.display().to_string()), vec![consumer], &Reopen::default()).unwrap();
        push(&mut ring, &format!("{}\n", "x".repeat(200 * 1024)));
        assert!(!log.stop());
        drop(keep);
    }
}
