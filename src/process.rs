//! One process: starts what its command names, waits for a signal, stops it in reverse order.
//!
//! `run` has gateway and translator in one process; they talk through the same WebSocket as two
//! processes would, so there is one path to test.

use std::io;
use std::net::SocketAddr;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::{Command, Config, Engine};
use crate::gateway::{Gateway, StartError};
use crate::realtime::Permissions;
use crate::topology;
use crate::translator::{Engines, Handle, Translator};
use crate::vendor::VendorError;

/// Why a process does not start; nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The gateway refuses.
    #[error("gateway: {0}")]
    Gateway(#[from] StartError),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] io::Error),
    /// The translator refuses.
    #[error(
        "translator: cannot listen on {address}: {source}; end what uses this port or choose \
         another one (translator.listen)"
    )]
    Translator {
        /// Where it was to listen.
        address: SocketAddr,
        /// Why it cannot.
        source: io::Error,
    },
    /// A vendor's client cannot be made.
    #[error("translator: {0}")]
    Vendor(#[from] VendorError),
}

/// Runs until SIGHUP, SIGINT or SIGTERM; `topology` only prints.
///
/// # Errors
/// See [`RunError`].
pub fn run(command: Command, config: &Config) -> Result<(), RunError> {
    for note in &config.notes {
        log::warn!("{note}");
    }
    if command == Command::Topology {
        print!("{}", topology::describe(config, &Permissions::probe()));
        return Ok(());
    }
    // Before any thread, so that no signal finds the process half started.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(RunError::Signals)?;
    let mut config = config.clone();
    let translator = if command.runs_translator() {
        let translator = start_translator(&config)?;
        config.link = config.link.to_bound(translator.local_addr());
        Some(translator)
    } else {
        None
    };
    let gateway = if command.runs_gateway() {
        Some(Gateway::start(&config)?)
    } else {
        None
    };
    announce(&config, translator.as_ref(), gateway.as_ref());
    if let Some(signal) = signals.forever().next() {
        log::info!("ending: signal {signal}");
    }
    if let Some(gateway) = gateway {
        gateway.stop();
    }
    if let Some(translator) = translator {
        translator.stop();
    }
    Ok(())
}

fn start_translator(config: &Config) -> Result<Handle, RunError> {
    let engines = match config.translator.engine {
        Engine::Loop => None,
        Engine::Vendors => Some(Engines::from_config(config)?),
    };
    Translator::start(config, engines).map_err(|source| RunError::Translator {
        address: config.translator.listen,
        source,
    })
}

/// Said once all of it runs, so that a refusal is the only line.
fn announce(config: &Config, translator: Option<&Handle>, gateway: Option<&Gateway>) {
    if let Some(translator) = translator {
        log::info!(
            "translator listens on {}, engine {:?}",
            translator.local_addr(),
            config.translator.engine
        );
    }
    let Some(gateway) = gateway else { return };
    for (extension, address) in config.extensions.iter().zip(gateway.rtp_addresses()) {
        log::info!(
            "extension {} ({}) is interpreted with {}; RTP on {address}",
            extension.number,
            extension.language,
            extension.partner
        );
    }
}
