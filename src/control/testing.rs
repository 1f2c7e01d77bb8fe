//! What the tests of this room share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// A new empty folder for one test, below the system's temporary one.
pub(crate) fn folder(name: &str) -> PathBuf {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("ringway-{}-{serial}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}
