//! CPU time of processes and of the machine, from /proc. Refuses to guess: a process that is gone
//! has no time.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Fields of a stat line after the name: user time is the 14th of the line, the 12th after it
/// (proc_pid_stat(5)).
const FIELD_UTIME: usize = 11;
const FIELD_STIME: usize = 12;
const FIELD_PRIORITY_RT: usize = 37;
const FIELD_POLICY: usize = 38;
/// Columns of /proc/stat's first line: user, nice, system, idle, iowait, irq, softirq, steal.
const COLUMN_IDLE: usize = 3;
const COLUMN_IOWAIT: usize = 4;
const COLUMN_STEAL: usize = 7;
const COLUMNS: usize = 8;

/// One line of /proc/PID/stat.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stat {
    /// The thread's name.
    pub name: String,
    /// User and system time, in clock ticks.
    pub ticks: u64,
    /// Scheduling policy: 0 other, 1 FIFO, 2 round robin, 3 batch, 5 idle.
    pub policy: u32,
    /// Real-time priority, 0 where that has no meaning.
    pub priority: u32,
}

/// CPU times of a process's threads at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ProcessTimes {
    /// Of the whole process, ended threads included, in clock ticks.
    pub ticks: u64,
    /// By thread id.
    pub threads: BTreeMap<u32, Stat>,
}

/// The machine's CPU time at one moment, in clock ticks over all CPUs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MachineTimes {
    /// All time.
    pub total: u64,
    /// Nothing to do.
    pub idle: u64,
    /// Taken by the hypervisor for others.
    pub steal: u64,
}

/// The times of a process now; none when there is no such process.
pub fn process_times(pid: u32) -> Option<ProcessTimes> {
    let whole = parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let thread = entry.file_name().to_str().and_then(|id| id.parse().ok());
        // A thread may end while we look: then its time is in the whole only.
        let stat = fs::read_to_string(entry.path().join("stat"));
        if let (Some(thread), Some(stat)) = (thread, stat.ok().as_deref().and_then(parse_stat)) {
            threads.insert(thread, stat);
        }
    }
    Some(ProcessTimes {
        ticks: whole.ticks,
        threads,
    })
}

/// The machine's times now; zeros where /proc is not as we know it.
pub fn machine_times() -> MachineTimes {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    parse_machine(&stat).unwrap_or_default()
}

/// How the calling thread is scheduled, in words: `SCHED_FIFO 60`.
pub fn scheduling() -> String {
    let stat = fs::read_to_string("/proc/thread-self/stat");
    match stat.ok().as_deref().and_then(parse_stat) {
        Some(stat) => match stat.policy {
            0 => "SCHED_OTHER".into(),
            1 => format!("SCHED_FIFO {}", stat.priority),
            2 => format!("SCHED_RR {}", stat.priority),
            other => format!("scheduling policy {other}"),
        },
        None => "unknown".into(),
    }
}

/// Clock ticks as time.
pub fn time_of_ticks(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_secs(ticks) / per_second as u32
}

impl MachineTimes {
    /// Steal and idle since an earlier moment, as shares of all time.
    pub fn shares_since(&self, before: &Self) -> (f64, f64) {
        let total = self.total.saturating_sub(before.total).max(1) as f64;
        let share = |now: u64, before: u64| now.saturating_sub(before) as f64 / total;
        (
            share(self.steal, before.steal),
            share(self.idle, before.idle),
        )
    }
}

/// Reads one stat line; the name may hold spaces and brackets.
fn parse_stat(line: &str) -> Option<Stat> {
    let (head, tail) = line.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<_> = tail.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        name: name.to_owned(),
        ticks: number(FIELD_UTIME)? + number(FIELD_STIME)?,
        priority: number(FIELD_PRIORITY_RT)? as u32,
        policy: number(FIELD_POLICY)? as u32,
    })
}

fn parse_machine(stat: &str) -> Option<MachineTimes> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let columns: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .take(COLUMNS)
        .map_while(|column| column.parse().ok())
        .collect();
    let column = |index: usize| columns.get(index).copied();
    Some(MachineTimes {
        total: columns.iter().sum(),
        idle: column(COLUMN_IDLE)? + column(COLUMN_IOWAIT)?,
        steal: column(COLUMN_STEAL)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: fields are counted right, whatever the name. Method: a line from proc_pid_stat(5)'s
    /// shape with a name made to mislead.
    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let line = "4242 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 700 55 13 14 15 16 17 18 19 20 21 22 \
                    23 24 25 26 27 28 29 30 31 32 33 34 35 36 60 1 37 38 39 40\n";
        let stat = parse_stat(line).unwrap();
        assert_eq!(stat.name, "a) b (c");
        assert_eq!((stat.ticks, stat.priority, stat.policy), (755, 60, 1));
        assert_eq!(parse_stat("12 (x) S 1"), None);
    }

    /// Goal: steal is told from idle. Method: two readings.
    #[test]
    fn steal_is_a_share_of_all_time() {
        let reading = |line| parse_machine(line).unwrap();
        let before = reading("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
        let after = reading("cpu  150 0 130 800 110 0 0 10 0 0\n");
        let (steal, idle) = after.shares_since(&before);
        assert!((steal - 0.05).abs() < 1e-9);
        assert!((idle - 0.55).abs() < 1e-9);
        assert_eq!(parse_machine("cpu 1 2"), None);
    }

    /// Goal: this very process is found, and its time grows. Method: burn CPU until it does.
    #[test]
    fn our_own_time_grows() {
        let pid = std::process::id();
        let begin = process_times(pid).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while process_times(pid).unwrap().ticks == begin.ticks {
            assert!(
                std::time::Instant::now() < deadline,
                "no tick in ten seconds"
            );
        }
        assert!(!begin.threads.is_empty());
        assert_ne!(scheduling(), "unknown");
        assert_eq!(process_times(u32::MAX), None);
    }
}
