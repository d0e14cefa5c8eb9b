//! What all sessions share: configuration, engines, pools, counters.

use std::sync::Arc;
use std::time::Instant;

use diglot_rt::stats::Counter;

use super::counters::{Count, Counters};
use super::limits::{JOBS_WAITING_MAX, Limits};
use super::{Engines, Load};
use crate::config::{Config, Engine};
use crate::link::translator::request::{Refusal, Request, ok_response};
use crate::link::translator::server::Route;
use crate::realtime::{Degradation, Degradations};
use crate::vendor::pool::WorkerPool;

/// Where a leg's WebSocket is served; the extension follows.
const TRANSLATE_PATH: &str = "/translate/";

/// Where the state is served.
const HEALTH_PATH: &str = "/healthz";

/// What all sessions share. The I/O thread alone writes counters and gauges.
pub(super) struct Hub {
    pub(super) extensions: Vec<Extension>,
    pub(super) vendors: Option<Vendors>,
    pub(super) limits: Limits,
    pub(super) counters: Counters,
    /// What the kernel refused to the I/O thread.
    pub(super) degradations: Arc<Degradations>,
    pub(super) connections: Counter,
    pub(super) sessions: Counter,
    /// When the I/O thread's clock was 0.
    pub(super) epoch: Instant,
}

/// One extension, as the translator sees it.
#[derive(Debug)]
pub(super) struct Extension {
    pub(super) number: Arc<str>,
    pub(super) partner: Arc<str>,
}

/// Engines and the threads they run on.
pub(super) struct Vendors {
    pub(super) engines: Engines,
    pub(super) voices: Vec<(String, String)>,
    pub(super) recognizers: WorkerPool,
    pub(super) workers: WorkerPool,
}

impl Hub {
    pub(super) fn new(config: &Config, engines: Option<Engines>, limits: Limits) -> Self {
        let extensions = config.extensions.iter().map(|extension| Extension {
            number: extension.number.as_str().into(),
            partner: extension.partner.as_str().into(),
        });
        let vendors = engines.map(|engines| Vendors {
            engines,
            voices: config.elevenlabs.voices.clone(),
            recognizers: WorkerPool::new("asr", config.translator.recognizers_max, 0),
            workers: WorkerPool::new("speech", config.translator.workers, JOBS_WAITING_MAX),
        });
        Self {
            extensions: extensions.collect(),
            vendors,
            limits,
            counters: Counters::default(),
            degradations: Arc::default(),
            connections: Counter::default(),
            sessions: Counter::default(),
            epoch: Instant::now(),
        }
    }

    /// The extension a path is about, as an index.
    pub(super) fn extension_of(&self, path: &str) -> Option<usize> {
        let number = path.strip_prefix(TRANSLATE_PATH)?;
        self.extensions
            .iter()
            .position(|extension| &*extension.number == number)
    }

    /// What a request gets; counts it.
    pub(super) fn route(&self, request: &Request) -> Route {
        let refusal = if request.path == HEALTH_PATH || self.extension_of(&request.path).is_some() {
            (Refusal::MethodNotAllowed, "only GET is served")
        } else if request.path.starts_with(TRANSLATE_PATH) {
            (Refusal::NotFound, "no such extension")
        } else {
            (
                Refusal::NotFound,
                "no such path; there are /healthz and /translate/{extension}",
            )
        };
        if request.method != "GET" || refusal.0 == Refusal::NotFound {
            self.counters.count(Count::RequestRefused);
            return Route::Answer(refusal.0.response(refusal.1));
        }
        if request.path == HEALTH_PATH {
            self.counters.count(Count::Request);
            return Route::Answer(ok_response(&self.health()));
        }
        Route::Upgrade
    }

    pub(super) fn load(&self) -> Load {
        let jobs = |pool: fn(&Vendors) -> &WorkerPool| {
            self.vendors
                .as_ref()
                .map_or(0, |vendors| pool(vendors).jobs() as u64)
        };
        Load {
            connections: self.connections.value(),
            sessions: self.sessions.value(),
            recognizers: jobs(|vendors| &vendors.recognizers),
            jobs: jobs(|vendors| &vendors.workers),
        }
    }

    fn health(&self) -> String {
        let load = self.load();
        let counters = Count::ALL
            .iter()
            .map(|count| (count.name(), self.counters.value(*count)));
        let degradations = Degradation::ALL
            .iter()
            .map(|what| (what.name(), self.degradations.value(*what)));
        let counters = counters
            .chain(degradations)
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect::<serde_json::Map<_, _>>();
        let engine = if self.vendors.is_some() {
            Engine::Vendors
        } else {
            Engine::Loop
        };
        serde_json::json!({
            "status": "ok",
            "version": env!("CARGO_PKG_VERSION"),
            "engine": match engine { Engine::Loop => "loop", Engine::Vendors => "vendors" },
            "connections": load.connections,
            "sessions": load.sessions,
            "recognizers": load.recognizers,
            "jobs": load.jobs,
            "counters": counters,
        })
        .to_string()
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("load", &self.load())
            .finish_non_exhaustive()
    }
}
