//! What the kernel says of this process, for metrics: `/proc/self`.

use std::fs;

/// Ticks of a second in `/proc`: USER_HZ, which is 100 on every architecture Linux runs on today.
const TICKS: f64 = 100.0;

/// Numbers about the process; a missing one is one the kernel did not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    /// Processor time of all threads, user and system, s.
    pub(super) cpu_s: Option<f64>,
    /// Memory in RAM, bytes.
    pub(super) resident_bytes: Option<u64>,
    /// Open descriptors.
    pub(super) fds: Option<u64>,
    /// How many it may have.
    pub(super) fds_max: Option<u64>,
    /// When it was started, s since the epoch.
    pub(super) started_s: Option<f64>,
}

/// Reads them; a few small files, some tens of µs.
pub(super) fn read() -> Process {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the command in parentheses, and may hold spaces and parentheses itself.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    // proc(5) counts from 1 with the command as 2; what follows it begins with field 3.
    let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok());
    let boot = number_after("/proc/stat", "btime");
    Process {
        cpu_s: ticks(14).zip(ticks(15)).map(|(user, system)| (user + system) / TICKS),
        resident_bytes: number_after("/proc/self/status", "VmRSS:").map(|kib| kib * 1024),
        fds: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64),
        fds_max: number_after("/proc/self/limits", "Max open files"),
        started_s: boot.zip(ticks(22)).map(|(boot, ticks)| boot as f64 + ticks / TICKS),
    }
}

/// The first number after `label` at the start of a line.
fn number_after(file: &str, label: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_all_of_it() {
        let process = read();
        assert!(process.cpu_s.is_some_and(|s| s >= 0.0), "{process:?}");
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{process:?}");
        assert!(process.fds.zip(process.fds_max).is_some_and(|(fds, max)| fds > 0 && fds <= max), "{process:?}");
        assert!(process.started_s.is_some_and(|s| s > 1.6e9), "{process:?}");
    }
}
