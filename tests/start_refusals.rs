//! Goal: what cannot start whole does not start at all, and says why in one line.
//! Method: the real program, with what it needs taken by this test.

use std::net::UdpSocket;
use std::process::{Command, Output};

fn run(settings: &[String]) -> Output {
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    Command::new(env!("CARGO_BIN_EXE_diglot"))
        .args([
            "run",
            "--set",
            "asterisk.control=none",
            "--set",
            "translator.engine=loop",
        ])
        .args(["--set", "translator.listen=127.0.0.1:0"])
        .args(settings)
        .output()
        .unwrap()
}

/// The translator has started by then and is stopped again.
#[test]
fn a_busy_rtp_port_is_one_line_and_status_2() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = run(&[
        "extension.7777.listen=127.0.0.1:0".into(),
        format!("extension.8888.listen={address}"),
    ]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in ["8888", &address.to_string(), "extension.listen"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}
