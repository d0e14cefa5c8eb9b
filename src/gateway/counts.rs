//! The counters of a gateway, for whoever shows them.

use std::sync::Arc;

use diglot_rt::stats::{Counted, Counter, RxCounts, TxCounts};

use crate::call::CallCounts;
use crate::call::relock::RelockCounts;
use crate::link::counts::LinkCounts;
use crate::realtime::Degradations;

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Of the rx tiles.
    pub rx: Sum<RxCounts>,
    /// Of the tx tiles.
    pub tx: Sum<TxCounts>,
    /// Of the link thread.
    pub link: Arc<LinkCounts>,
    /// Of the control thread.
    pub call: Arc<CallCounts>,
    /// Of the log thread: packets that might have made a leg re-lock, and did not.
    pub relock: Arc<RelockCounts>,
    /// Of the log thread: datagrams that the kernel dropped, for a socket's buffer was full.
    pub rx_socket_drops: Arc<Counter>,
    /// Events that were lost to the log.
    pub events_lost: Arc<Counter>,
    /// What the kernel refused: to the start, then to each tile and the link.
    pub degradations: Sum<Degradations>,
}

/// The same counters of several threads, each the only writer of its own; shown as one.
#[derive(Debug)]
pub struct Sum<C>(Vec<Arc<C>>);

impl<C> Clone for Sum<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Default for Sum<C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C: Counted + Default> Sum<C> {
    /// Counters for one more thread, which alone may count with them.
    pub fn add_writer(&mut self) -> Arc<C> {
        let counts = Arc::<C>::default();
        self.0.push(Arc::clone(&counts));
        counts
    }

    /// How many so far, by all writers.
    pub fn value(&self, what: C::What) -> u64 {
        self.0.iter().map(|counts| counts.value_of(what)).sum()
    }

    /// The greatest of all writers: for what is a maximum.
    pub fn greatest(&self, what: C::What) -> u64 {
        self.each(what).max().unwrap_or(0)
    }

    /// How many so far, by each writer in the order in which they were added.
    pub fn each(&self, what: C::What) -> impl Iterator<Item = u64> {
        self.0.iter().map(move |counts| counts.value_of(what))
    }
}
