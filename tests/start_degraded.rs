//! Goal: what the kernel refuses for punctuality's sake costs one *degraded* line and a count each,
//! and never a call. Method: the real program, asked for a core that does not exist, for real-time
//! priority and locked memory without the permissions, and for tile pairs; and `topology`.

#[path = "support/product_process.rs"]
#[allow(dead_code, unreachable_pub)]
mod product_process;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use product_process::Process;

const PATIENCE: Duration = Duration::from_secs(20);

/// More cores than any machine of a test has; the largest that the configuration takes.
const NO_SUCH_CORE: &str = "1023";

/// Less than the tiles' memory.
const MEMLOCK_BYTES_MAX: &str = "65536";

/// A core that the test may run on, and so the program too.
fn any_core() -> usize {
    core_affinity::get_core_ids().unwrap()[0].id
}

/// The program without the right to real-time priority and locked memory, whoever runs the test:
/// one who may not give rights away has none of them.
fn unprivileged() -> Command {
    let program = env!("CARGO_BIN_EXE_diglot");
    let mut give_away = Command::new("setpriv");
    give_away.args(["--bounding-set=-sys_nice,-ipc_lock", "true"]);
    let may_give_away = give_away
        .output()
        .is_ok_and(|output| output.status.success());
    let mut command = Command::new("prlimit");
    command.args(["--rtprio=0", &format!("--memlock={MEMLOCK_BYTES_MAX}")]);
    if may_give_away {
        command.args(["setpriv", "--bounding-set=-sys_nice,-ipc_lock"]);
    }
    command.arg(program);
    command
}

fn settings(command: &mut Command, settings: &[&str]) {
    let defaults = [
        "asterisk.control=none",
        "translator.engine=loop",
        "translator.listen=127.0.0.1:0",
        "extension.7777.listen=127.0.0.1:0",
        "extension.8888.listen=127.0.0.1:0",
    ];
    for setting in defaults.iter().chain(settings) {
        command.args(["--set", setting]);
    }
}

/// The state that the program's translator shows.
fn health_of(program: &Process) -> String {
    let line = program.wait_for_line("translator listens on ", PATIENCE);
    let rest = line.split("translator listens on ").nth(1).unwrap();
    let address = rest.split(',').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = Vec::new();
    // It closes after its answer.
    stream.read_to_end(&mut response).unwrap();
    String::from_utf8(response).unwrap()
}

#[test]
fn what_is_refused_is_said_and_counted_and_the_gateway_runs() {
    let mut command = unprivileged();
    command.arg("run");
    let rx_core = format!("realtime.rx_core={},{NO_SUCH_CORE}", any_core());
    settings(&mut command, &["realtime.tile_pairs=2", &rx_core]);
    let mut program = Process::start("diglot", &mut command);
    program.wait_for_line("extension 8888", PATIENCE);
    for part in [
        "degraded: rx1 is not pinned: core 1023 was refused",
        "degraded: rx0 runs without priority",
        "degraded: tx0 runs without priority",
        "degraded: rx1 runs without priority",
        "degraded: tx1 runs without priority",
        "degraded: link runs without priority",
        "degraded: translator runs without priority",
        "degraded: the gateway's memory may be paged out",
    ] {
        assert_eq!(program.wait_for_lines(part, 1, PATIENCE).len(), 1, "{part}");
    }
    let health = health_of(&program);
    for count in ["\"degraded_priority_total\":1", "\"degraded_core_total\":0"] {
        assert!(health.contains(count), "{count} is not in {health}");
    }
    assert!(program.terminate().success());
    let lines = program.lines();
    // How much the kernel holds for a socket is no permission of this program's.
    let is_degraded =
        |line: &&String| line.contains("degraded: ") && !line.contains("net.core.rmem_max");
    assert_eq!(lines.iter().filter(is_degraded).count(), 8, "{lines:#?}");
    for count in [
        "rx_datagram_total 0",
        "tx_tick_total ",
        "call_arrived_total 0",
    ] {
        let is_in_table = |line: &String| line.contains("in all: ") && line.contains(count);
        assert_eq!(
            lines.iter().filter(|line| is_in_table(line)).count(),
            1,
            "{count}"
        );
    }
    let counts: String = lines
        .into_iter()
        .filter(|line| line.contains("counts: "))
        .collect();
    for count in [
        "degraded_core_total 1 ",
        "degraded_memory_lock_total 1 ",
        "degraded_priority_total 5 ",
    ] {
        assert!(counts.contains(count), "{count} is not in {counts}");
    }
    assert!(!counts.contains("degraded_memory_touch_total"), "{counts}");
}

/// Sixteen ports for eight pairs are 128 sockets, more than this process may have; the sixteen of
/// one pair, twice each for sending, are far fewer.
#[test]
fn tile_pairs_that_cannot_be_had_leave_one_that_serves_every_port() {
    const EXTENSIONS: usize = 16;
    const FILES_MAX: &str = "80";
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sixteen-extensions.toml");
    let mut toml = String::new();
    for index in 0..EXTENSIONS {
        let (number, partner) = (7000 + index, 7000 + (index ^ 1));
        toml += &format!(
            "[[extension]]\nnumber = \"{number}\"\nlanguage = \"en\"\npartner = \"{partner}\"\n\
             listen = \"127.0.0.1:0\"\n"
        );
    }
    std::fs::write(&path, toml).unwrap();
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={FILES_MAX}"));
    command
        .args([env!("CARGO_BIN_EXE_diglot"), "run", "--config"])
        .arg(&path);
    for setting in [
        "asterisk.control=none",
        "translator.engine=loop",
        "translator.listen=127.0.0.1:0",
        "realtime.priority=0",
        "realtime.tile_pairs=8",
    ] {
        command.args(["--set", setting]);
    }
    let mut program = Process::start("diglot", &mut command);
    let refusal = "degraded: one tile pair instead of 8";
    assert_eq!(program.wait_for_lines(refusal, 1, PATIENCE).len(), 1);
    program.wait_for_lines("RTP on 127.0.0.1:", EXTENSIONS, PATIENCE);
    assert!(program.terminate().success());
    let is_counted = |line: &String| line.contains("degraded_tile_pairs_total 1 ");
    assert!(
        program.lines().iter().any(is_counted),
        "{:#?}",
        program.lines()
    );
}

#[test]
fn topology_shows_pairs_cores_and_refusals_as_they_are() {
    let mut command = unprivileged();
    command.arg("topology");
    let rx_core = format!("realtime.rx_core={},{NO_SUCH_CORE}", any_core());
    settings(
        &mut command,
        &["realtime.tile_pairs=2", &rx_core, "realtime.legs_max=64"],
    );
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        &format!(
            "  rx0        core {:<5} SCHED_FIFO 49 waits on mio",
            any_core()
        ),
        "  tx0        any core   SCHED_FIFO 50 waits on timer",
        "  rx1        core 1023: not here SCHED_FIFO 49",
        "  link       any core   nice -15      waits on",
        "  control    any core   ordinary      waits on",
        "  log-writer any core   ordinary      waits on",
        "  translator any core   nice -15      waits on",
        "  rx1           > link          UplinkFrame",
        "  link          > tx1           DownlinkFrame",
        "  rx1: decode   > rx1: resample UplinkFrame",
        " bytes for each of 64 legs in each of 2 tile pairs",
        "  SCHED_FIFO        degraded: ",
        "  locked memory     degraded: ",
        "  touched memory    allowed",
        "  tile pairs        allowed",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert_eq!(text.matches(" > link ").count(), 2, "{text}");
    assert!(!text.contains("warning"), "{text}");
}

#[test]
fn topology_warns_where_reception_and_clock_share_a_core_and_shows_that_nothing_is_urgent() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diglot"));
    command.arg("topology");
    let core = any_core();
    let (rx, tx) = (
        format!("realtime.rx_core={core}"),
        format!("realtime.tx_core={core}"),
    );
    settings(&mut command, &[&rx, &tx, "realtime.priority=0"]);
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let warning = format!("  warning: rx_core and tx_core both name core {core}");
    assert_eq!(text.matches(&warning).count(), 1, "{text}");
    assert!(!text.contains(" SCHED_FIFO 4"), "{text}");
    assert!(
        text.contains(&format!("  tx         core {core:<5} ordinary ")),
        "{text}"
    );
}

#[test]
fn topology_of_one_pair_has_no_numbers() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diglot"));
    command.arg("topology");
    settings(&mut command, &[]);
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(text.contains("\n  rx         any core "), "{text}");
    assert!(
        !text.contains("rx0") && !text.contains("tile pairs;"),
        "{text}"
    );
}
