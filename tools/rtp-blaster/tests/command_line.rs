//! Goal: the modes do from the command line what the library does, and exit as they say.
//! Method: the real binary on loopback; its files are read back.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_rtp-blaster");

/// A relay of its own process, killed when dropped.
struct RelayProcess {
    child: Child,
    ports: Vec<String>,
}

impl RelayProcess {
    fn start() -> Self {
        let mut child = Command::new(BINARY)
            .args(["echo", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it names its ports");
        let ports = line.trim().strip_prefix("listening on ").expect("ports");
        let ports = ports.split(' ').map(str::to_owned).collect();
        Self { child, ports }
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn blaster(arguments: &[&str]) -> Output {
    let output = Command::new(BINARY).args(arguments).output();
    output.expect("the binary starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn temporary(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    directory.join(format!("{}-{name}", std::process::id()))
}

#[test]
fn a_load_writes_its_reports_and_keeps_its_limits() {
    let relay = RelayProcess::start();
    let (json, svg) = (temporary("load.json"), temporary("load.svg"));
    let relay_pid = relay.child.id().to_string();
    let mut arguments = vec!["load", "--to", &relay.ports[0], "--to", &relay.ports[1]];
    arguments.extend("--legs 4 --hears self --ramp 0 --warm-up 0.2 --seconds 1".split(' '));
    arguments.extend("--fail-missing 0 --fail-loss 0 --fail-wrong-voice 0".split(' '));
    arguments.extend(["--markers", "0.5", "--cpu-of", &relay_pid]);
    arguments.extend([
        "--json",
        json.to_str().unwrap(),
        "--svg",
        svg.to_str().unwrap(),
    ]);
    let output = blaster(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("4 legs, pcmu, 1.0 s measured"), "{text}");
    assert!(text.contains("acceptable: "), "{text}");

    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&json).unwrap()).expect("JSON");
    assert_eq!(report["downlink"]["frames_missing"], 0);
    assert_eq!(report["per_leg"].as_array().map(Vec::len), Some(4));
    assert_eq!(report["cpu"][0]["pid"].to_string(), relay_pid);
    assert!(report["acceptable"].is_boolean());
    let picture = std::fs::read_to_string(&svg).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    std::fs::remove_file(json).unwrap();
    std::fs::remove_file(svg).unwrap();
}

#[test]
fn broken_limits_are_named_one_by_one_and_exit_with_3() {
    let relay = RelayProcess::start();
    let mut arguments = vec!["load", "--to", &relay.ports[0], "--legs", "4"];
    arguments.extend("--ramp 0 --warm-up 0 --seconds 0.6 --loss 30 --tone".split(' '));
    arguments.extend("--fail-loss 1 --fail-missing 0 --fail-ssrc-changes 0".split(' '));
    let output = blaster(&arguments);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let lines: Vec<_> = stderr(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("rtp-blaster: --fail-loss: "),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("rtp-blaster: --fail-missing: "),
        "{lines:?}"
    );
}

#[test]
fn wrong_usage_is_one_line_and_exits_with_2() {
    let wrong = [
        "load --legs 4",
        "load --to 127.0.0.1:9 --legs 0",
        "load --to 127.0.0.1:9 --legs 2001",
        "load --to localhost:9",
        "load --to 127.0.0.1:9 --loss 101",
        "load --to 127.0.0.1:9 --jitter 20:gauss",
        "load --to 127.0.0.1:9 --burst-loss 50",
        "load --to 127.0.0.1:9 --pause 1:2",
        "load --to 127.0.0.1:9 --codec opus",
        "load --to 127.0.0.1:9 --fail-everything 1",
        "load --to 127.0.0.1:9 --what 1",
        "load --to 127.0.0.1:9 --to 127.0.0.1:11 --legs 3",
        "load --to 127.0.0.1:9 --wav /nowhere.wav",
        "relay",
        "relay --listen 127.0.0.1:0",
        "echo",
        "load --to 127.0.0.1:9 --from-port 65535",
        "load --to 127.0.0.1:9 --from-port x",
        "phone",
        "dance",
        "",
    ];
    for line in wrong {
        let output = blaster(&line.split_whitespace().collect::<Vec<_>>());
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{line}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{line}: {stderr}");
    }
    for mode in ["load", "echo", "relay", "phone"] {
        let help = blaster(&[mode, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        assert!(help.stdout.starts_with(b"Usage: rtp-blaster"));
    }
}

#[test]
fn a_load_that_cannot_run_exits_with_1() {
    let gone = u32::MAX.to_string();
    let output = blaster(&["load", "--to", "127.0.0.1:9", "--cpu-of", &gone]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}
