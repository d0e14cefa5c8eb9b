//! Goal: no half-dead process: a panic in a thread that everything depends on ends it at once.
//! Method: this test runs itself again as a process of its own, in which such a thread panics.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use diglot::critical::AbortOnPanic;
use rustix::process::Signal;

const CHILD: &str = "DIGLOT_TEST_PANIC_IN_THREAD";

#[test]
fn a_panic_in_a_critical_thread_ends_the_process() {
    if std::env::var_os(CHILD).is_some() {
        let thread = std::thread::spawn(|| {
            let _guard = AbortOnPanic;
            panic!("as the test wants");
        });
        let _ = thread.join();
        return;
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_panic_in_a_critical_thread_ends_the_process"])
        .env(CHILD, "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
}
