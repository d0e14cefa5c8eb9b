//! A bounded pool of threads for work that blocks: requests to vendors, recognition streams.
//!
//! It refuses what is beyond its bounds instead of waiting, and gives the refused job back. Threads
//! start on demand, so a pool for many long streams costs what is in use. A job that panics ends
//! alone: the panic is caught, counted and logged as the bug it is.

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, Sender};

/// How long a dropped pool waits for its jobs. Vendors' timeouts end every request sooner.
const JOIN_WAIT_MAX: Duration = Duration::from_secs(5);

/// The pool was full; the job it did not take.
#[derive(Debug)]
pub struct Full<T>(
    /// Given back as it came.
    pub T,
);

/// Up to so many threads, and so many jobs waiting for one. Dropping it lets the jobs it has taken
/// finish, for a bounded time.
#[derive(Debug)]
pub struct WorkerPool {
    name: &'static str,
    threads_max: usize,
    jobs_max: usize,
    /// `None` only while dropping.
    jobs: Option<Sender<Job>>,
    jobs_taken: Receiver<Job>,
    /// Each thread's last word when it ends: its index.
    ended: (Sender<usize>, Receiver<usize>),
    threads: Mutex<Vec<Option<JoinHandle<()>>>>,
    load: Arc<Load>,
    join_wait_max: Duration,
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug, Default)]
struct Load {
    /// Jobs waiting or running: at most `threads_max + queue_max`.
    jobs: Mutex<usize>,
    panics_total: AtomicU64,
}

impl WorkerPool {
    /// A pool without threads yet. Its threads are called `name-0`, `name-1` …; keep the name below
    /// 12 bytes, the system cuts at 15.
    pub fn new(name: &'static str, threads_max: usize, queue_max: usize) -> Self {
        let threads_max = threads_max.max(1);
        let jobs_max = threads_max + queue_max;
        let (jobs, jobs_taken) = channel::bounded(jobs_max);
        Self {
            name,
            threads_max,
            jobs_max,
            jobs: Some(jobs),
            jobs_taken,
            ended: channel::bounded(threads_max),
            threads: Mutex::new(Vec::new()),
            load: Arc::default(),
            join_wait_max: JOIN_WAIT_MAX,
        }
    }

    /// Changes how long dropping the pool waits for its jobs (default 5 s).
    #[must_use]
    pub fn with_join_wait(mut self, join_wait_max: Duration) -> Self {
        self.join_wait_max = join_wait_max;
        self
    }

    /// Runs `job` on a thread of the pool, as soon as one is free. Never waits.
    ///
    /// # Errors
    /// All threads are busy and the queue is full, or the first thread could not be started.
    pub fn submit<F: FnOnce() + Send + 'static>(&self, job: F) -> Result<(), Full<F>> {
        let Some(jobs) = &self.jobs else {
            return Err(Full(job));
        };
        let mut load = self
            .load
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *load >= self.jobs_max || !self.has_thread_for(*load + 1) {
            return Err(Full(job));
        }
        let load_of_job = Arc::clone(&self.load);
        let boxed: Job = Box::new(move || load_of_job.run(job));
        // The channel has room for every job the count allows.
        let is_taken = jobs.try_send(boxed).is_ok();
        debug_assert!(is_taken, "the job count and the channel agree");
        *load += usize::from(is_taken);
        Ok(())
    }

    /// Jobs waiting or running.
    pub fn jobs(&self) -> usize {
        *self
            .load
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Jobs that panicked so far; each is a bug.
    pub fn panics_total(&self) -> u64 {
        self.load.panics_total.load(Ordering::Relaxed)
    }

    /// Starts a thread if `jobs` jobs need one more. Whether there is any thread at all.
    fn has_thread_for(&self, jobs: usize) -> bool {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs > threads.len() && threads.len() < self.threads_max {
            match self.start_thread(threads.len()) {
                Ok(thread) => threads.push(Some(thread)),
                Err(error) => log::error!("pool {}: no further thread: {error}", self.name),
            }
        }
        !threads.is_empty()
    }

    fn start_thread(&self, index: usize) -> io::Result<JoinHandle<()>> {
        let jobs = self.jobs_taken.clone();
        let ended = self.ended.0.clone();
        thread::Builder::new()
            .name(format!("{}-{index}", self.name))
            .spawn(move || {
                for job in jobs {
                    job();
                }
                // Never full, as there is room for every thread's word.
                let _ = ended.try_send(index);
            })
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.jobs = None;
        let deadline = Instant::now() + self.join_wait_max;
        let threads = self
            .threads
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for _ in 0..threads.len() {
            let Ok(index) = self.ended.1.recv_deadline(deadline) else {
                break;
            };
            if let Some(thread) = threads.get_mut(index).and_then(Option::take) {
                // Its jobs' panics are caught; joining it waits for its last instruction only.
                drop(thread.join());
            }
        }
        let jobs_left = self.jobs();
        if jobs_left > 0 {
            log::warn!("pool {}: ended with {jobs_left} jobs unfinished", self.name);
        }
    }
}

impl Load {
    fn run(&self, job: impl FnOnce()) {
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(job)) {
            self.panics_total.fetch_add(1, Ordering::Relaxed);
            log::error!("bug: a job panicked: {}", panic_message(payload.as_ref()));
        }
        *self.jobs.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// A job that says that it began and then waits to be released.
    fn held_job() -> (impl FnOnce() + Send + 'static, Receiver<()>, Sender<()>) {
        let (began, has_begun) = channel::bounded(1);
        let (release, is_released) = channel::bounded::<()>(1);
        let job = move || {
            began.send(()).unwrap();
            let _ = is_released.recv_timeout(LONG);
        };
        (job, has_begun, release)
    }

    /// Goal: the bound is threads plus queue; the job beyond it comes back and can still be run.
    #[test]
    fn full_pool_gives_the_job_back() {
        let pool = WorkerPool::new("test", 1, 1);
        let (job, has_begun, release) = held_job();
        pool.submit(job).ok().unwrap();
        has_begun.recv_timeout(LONG).unwrap();
        let (done, is_done) = channel::bounded(2);
        let queued = done.clone();
        pool.submit(move || queued.send("queued").unwrap())
            .ok()
            .unwrap();
        let Err(Full(refused)) = pool.submit(move || done.send("refused").unwrap()) else {
            panic!("took more than its bound");
        };
        assert_eq!(pool.jobs(), 2);
        refused();
        assert_eq!(is_done.recv_timeout(LONG), Ok("refused"));
        release.send(()).unwrap();
        assert_eq!(is_done.recv_timeout(LONG), Ok("queued"));
    }

    /// Goal: long jobs never wait behind each other while the bound on threads is not reached.
    #[test]
    fn every_long_job_gets_its_own_thread() {
        let pool = WorkerPool::new("stream", 8, 0);
        let held: Vec<_> = (0..8)
            .map(|_| {
                let (job, has_begun, release) = held_job();
                pool.submit(job).ok().unwrap();
                (has_begun, release)
            })
            .collect();
        for (has_begun, _) in &held {
            has_begun.recv_timeout(LONG).unwrap();
        }
        assert!(pool.submit(|| ()).is_err());
        drop(held);
    }

    /// Goal: a panic ends one job; the same thread takes the next; the count says so.
    #[test]
    fn panic_ends_one_job_only() {
        let pool = WorkerPool::new("panic", 1, 4);
        pool.submit(|| panic!("as the test wants")).ok().unwrap();
        let (done, is_done) = channel::bounded(1);
        pool.submit(move || {
            done.send(thread::current().name().map(str::to_owned))
                .unwrap()
        })
        .ok()
        .unwrap();
        assert_eq!(
            is_done.recv_timeout(LONG).unwrap().as_deref(),
            Some("panic-0")
        );
        assert_eq!(pool.panics_total(), 1);
    }

    /// Goal: what was taken is finished before the pool is gone.
    #[test]
    fn drop_finishes_what_was_taken() {
        let pool = WorkerPool::new("finish", 2, 100);
        let count = Arc::new(AtomicU64::new(0));
        for _ in 0..100 {
            let count = Arc::clone(&count);
            let job = move || {
                count.fetch_add(1, Ordering::Relaxed);
            };
            pool.submit(job).ok().unwrap();
        }
        drop(pool);
        assert_eq!(count.load(Ordering::Relaxed), 100);
    }

    /// Goal: a job that hangs does not hang the one who drops the pool.
    #[test]
    fn drop_waits_only_so_long() {
        let pool = WorkerPool::new("hang", 1, 0).with_join_wait(Duration::from_millis(20));
        let (job, has_begun, release) = held_job();
        pool.submit(job).ok().unwrap();
        has_begun.recv_timeout(LONG).unwrap();
        let begin = Instant::now();
        drop(pool);
        assert!(begin.elapsed() < LONG / 2);
        drop(release);
    }
}
