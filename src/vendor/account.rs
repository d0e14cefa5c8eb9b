//! One account at one vendor: its key, what is counted about it, and how its failures are written
//! down. No text leaves here with the key in it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::Secret;
use crate::vendor::{FailureKind, VendorError};

/// Characters of a vendor's own words that are kept in an error.
const DETAIL_CHARS_MAX: usize = 240;

/// Counters of one account, shared by all its requests; read by metrics.
#[derive(Debug, Default)]
pub struct VendorCounters {
    /// Requests made and streams opened, attempts counted one by one.
    pub requests_total: Counter,
    /// Attempts made again after a failure.
    pub retries_total: Counter,
    /// Messages that are not what the protocol allows, and were ignored.
    pub messages_malformed_total: Counter,
    /// Messages of a type this client does not know, ignored as well.
    pub messages_unknown_total: Counter,
    /// Chunks of audio the vendor did not take in time.
    pub audio_chunks_dropped_total: Counter,
    failures_total: [Counter; FailureKind::ALL.len()],
}

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// An account at a vendor.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) vendor: &'static str,
    pub(super) key: Secret,
    pub(super) counters: VendorCounters,
}

impl VendorCounters {
    /// Failed attempts of one kind so far.
    pub fn failures_total(&self, kind: FailureKind) -> u64 {
        self.failures_total[kind as usize].total()
    }
}

impl Counter {
    /// The count so far.
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

impl Account {
    /// An account with the configured key.
    ///
    /// # Errors
    /// There is no key, or one that no header can carry.
    pub(super) fn new(vendor: &'static str, key: Option<&Secret>) -> Result<Self, VendorError> {
        let refuse = |detail: &str| VendorError {
            vendor,
            kind: FailureKind::Auth,
            detail: detail.to_owned(),
        };
        let key = key.ok_or_else(|| refuse("no API key configured"))?;
        if key.reveal().is_empty() || !key.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refuse(
                "the API key is empty or holds characters that no key has",
            ));
        }
        Ok(Self {
            vendor,
            key: key.clone(),
            counters: VendorCounters::default(),
        })
    }

    /// Counts a failed attempt and writes it down.
    pub(super) fn failure(&self, kind: FailureKind, detail: &str) -> VendorError {
        self.counters.failures_total[kind as usize].add(1);
        VendorError {
            vendor: self.vendor,
            kind,
            detail: self.clean(detail),
        }
    }

    /// A vendor's words, fit to be logged: without the key, on one line, shortened.
    pub(super) fn clean(&self, text: &str) -> String {
        let text = text.replace(self.key.reveal(), "***");
        let words = text.split(|c: char| c.is_whitespace() || c.is_control());
        let mut line = String::new();
        for word in words.filter(|word| !word.is_empty()) {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if let Some((end, _)) = line.char_indices().nth(DETAIL_CHARS_MAX) {
            line.truncate(end);
            line.push('…');
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_is_one_short_line_without_the_key() {
        let key = Secret::new("s3cr3t-key".to_owned());
        let account = Account::new("Vendor", Some(&key)).unwrap();
        let error = account.failure(FailureKind::Auth, "bad\r\n key\u{0} 's3cr3t-key'\n");
        assert_eq!(error.detail, "bad key '***'");
        assert_eq!(account.counters.failures_total(FailureKind::Auth), 1);
        assert!(!format!("{account:?}").contains("s3cr3t"));
        let long = account.clean(&"é".repeat(10_000));
        assert_eq!(long.chars().count(), DETAIL_CHARS_MAX + 1);
    }

    #[test]
    fn missing_and_impossible_keys_are_refused() {
        for key in [None, Some(""), Some("a\nb"), Some("a b"), Some("clé")] {
            let key = key.map(|key| Secret::new(key.to_owned()));
            let error = Account::new("Vendor", key.as_ref()).unwrap_err();
            assert_eq!(error.kind, FailureKind::Auth);
        }
    }
}
