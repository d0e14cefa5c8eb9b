//! What the scenarios share: where their files go, and the product's own account of its calls.

use std::path::PathBuf;
use std::time::Duration;

use super::product_process::Process;

/// Set-up takes milliseconds; a busy machine gets more.
const CALL_WAIT: Duration = Duration::from_secs(10);

/// An empty folder for one test's recordings.
pub fn folder(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("lab")
        .join(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Waits until so many pairs have been made since the start.
pub fn wait_for_pairs(diglot: &Process, count: usize) {
    diglot.wait_for_lines("are interpreted with each other", count, CALL_WAIT);
}

/// Waits until so many legs have ended since the start.
pub fn wait_for_legs_ended(diglot: &Process, count: usize) {
    diglot.wait_for_lines(" left: ", count, CALL_WAIT);
}

/// Waits until the translator has been connected to so many legs since the start.
pub fn wait_for_links(diglot: &Process, count: usize) {
    diglot.wait_for_lines(": translator connected", count, CALL_WAIT);
}
