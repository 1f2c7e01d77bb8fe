//! What the instruments share: a pinned thread with the gateway's own ring flags, and arguments.

use monoio::{IoUringDriver, RuntimeBuilder};
use std::fmt::Display;
use std::future::Future;
use std::str::FromStr;

/// Submission entries. The gateway's default; completions have four times as many.
const ENTRIES: u32 = 1024;

/// Runs `future` on this thread, pinned to `cpu` where one is given. The flags are those of the gateway's
/// `io/runtime.rs`: a floor on other flags would be another floor.
pub fn run<F: Future + 'static>(cpu: Option<usize>, future: F) -> F::Output
where
    F::Output: 'static,
{
    if let Some(id) = cpu {
        if !core_affinity::set_for_current(core_affinity::CoreId { id }) {
            fail(format!("cannot pin to CPU {id}"));
        }
    }
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_cqsize(ENTRIES * 4);
    let runtime =
        RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).with_entries(ENTRIES).enable_timer().build();
    match runtime {
        Ok(mut runtime) => runtime.block_on(future),
        Err(error) => fail(format!("no io_uring: {error}")),
    }
}

/// `--name value` pairs of the command line.
pub struct Args {
    pairs: Vec<(String, String)>,
    usage: &'static str,
}

impl Args {
    /// Reads them; says `usage` and ends where they are no pairs.
    pub fn read(usage: &'static str) -> Args {
        let mut args = std::env::args().skip(1);
        let mut pairs = Vec::new();
        while let Some(name) = args.next() {
            match (name.strip_prefix("--"), args.next()) {
                (Some(name), Some(value)) => pairs.push((name.to_owned(), value)),
                _ => fail(usage),
            }
        }
        Args { pairs, usage }
    }

    /// The value of `--name`, where it is given.
    pub fn take<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let at = self.pairs.iter().position(|(given, _)| given == name)?;
        let (_, value) = self.pairs.swap_remove(at);
        Some(value.parse().unwrap_or_else(|_| fail(format!("--{name} {value}?\n{}", self.usage))))
    }

    /// The value of `--name`, which must be given.
    pub fn need<T: FromStr>(&mut self, name: &str) -> T {
        self.take(name).unwrap_or_else(|| fail(format!("--{name} is missing\n{}", self.usage)))
    }

    /// Refuses what nobody took.
    pub fn end(self) {
        if let Some((name, _)) = self.pairs.first() {
            fail(format!("--{name}?\n{}", self.usage));
        }
    }
}

/// Says why, and ends.
pub fn fail(why: impl Display) -> ! {
    eprintln!("{why}");
    std::process::exit(2)
}
