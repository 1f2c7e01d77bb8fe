//! One runtime per shard thread: io_uring with the flags that pay, or epoll where the kernel refuses it.

#![expect(unsafe_code, reason = "malloc_trim, mallopt and setpriority, which std does not offer")]

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use std::future::Future;
use std::io::{Error, Result};

/// What a shard waits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

impl Wait {
    /// The word in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Wait::Uring => "io_uring",
            Wait::Epoll => "epoll",
        }
    }

    /// Must sockets be non-blocking?
    pub fn non_blocking(self) -> bool {
        self == Wait::Epoll
    }
}

/// The machine's name; empty where the kernel does not say.
pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// Can this process have a ring of so many entries?
///
/// # Errors
/// What the kernel says: ENOSYS, EPERM (seccomp, sysctl), ENOMEM.
pub fn probe_uring(entries: u32) -> Result<()> {
    ring(entries).build(entries.max(8)).map(drop)
}

fn ring(entries: u32) -> io_uring::Builder {
    let mut ring = io_uring::IoUring::builder();
    // SINGLE_ISSUER and DEFER_TASKRUN: completions are handled when we ask for them, not by interrupting us; worth up
    // to 6 % at few connections. SUBMIT_ALL: one bad entry does not hold up the batch. CQ 4×: room for bursts.
    ring.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_cqsize(entries * 4);
    ring
}

/// Runs `future` on this thread until it ends.
///
/// # Errors
/// Where the driver cannot be built.
pub fn run<F: Future>(wait: Wait, entries: u32, future: F) -> Result<F::Output>
where
    F::Output: 'static,
{
    // 256: the least that monoio takes.
    let entries = entries.max(256).next_power_of_two();
    match wait {
        Wait::Uring => {
            let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
                .uring_builder(ring(entries))
                .with_entries(entries)
                .enable_timer()
                .build()?;
            Ok(runtime.block_on(future))
        }
        Wait::Epoll => {
            let mut runtime = RuntimeBuilder::<LegacyDriver>::new().with_entries(entries).enable_timer().build()?;
            Ok(runtime.block_on(future))
        }
    }
}

/// Pins this thread to a CPU; `false` where the system does not let us.
pub fn pin(cpu: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
}

/// Gives memory that was freed back to the system, where the allocator would keep it. Walks the heaps of all threads, a
/// millisecond for tens of megabytes: for after a burst.
pub fn release_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointer and is safe to call from any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the allocator give back what is freed at the end of a heap beyond a mebibyte, at once and always. Left to itself it
/// learns from the first large block that is freed to keep up to 64 MiB for each thread, which [`release_memory`] does not
/// reach: after a large reload that is more than what is kept of it. For the start of a process, before its threads.
pub fn keep_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const KEPT_BYTES: i32 = 1024 * 1024;
        // SAFETY: takes no pointer; the process has one thread. The second goes with the first: what is as large as that is
        // mapped by itself, and unmapped when it is freed.
        unsafe {
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
            libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES);
        }
    }
}

/// Runs `work` on a thread of its own and waits for it. What it makes lies together in memory, away from what the caller has
/// made and will free: for what is kept after much that is not, such as a plan after the text it was read from. Freed among
/// what stays, that would keep its pages.
///
/// # Panics
/// As `work` does, and where the system gives no thread.
pub fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Lets the threads that serve go first on this thread's CPU: for work that takes long and that no client waits for, such as
/// reading a large configuration. Nice 10 leaves a tenth of a contended CPU, so that it ends all the same.
pub fn step_back() {
    const NICE: i32 = 10;
    // SAFETY: no pointer is passed; 0 is the calling thread, as Linux has it for PRIO_PROCESS. Where it is refused, the
    // thread goes on as it was.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
}

/// The CPUs this process may run on.
pub fn cpus() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// A reason why io_uring is not to be had, for the one warning.
pub fn why_no_uring(error: &Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => "the kernel refuses it (seccomp profile, or kernel.io_uring_disabled)".into(),
        Some(libc::ENOSYS) => "this kernel has none".into(),
        Some(libc::EINVAL) => "this kernel is older than 6.1".into(),
        Some(libc::ENOMEM) => "not enough locked memory (ulimit -l)".into(),
        _ => error.to_string(),
    }
}
