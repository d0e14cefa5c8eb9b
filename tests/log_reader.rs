//! Goal: whoever reads the log, or does not, has no part in calls: they are set up, interpreted and
//! ended, and the process ends when it is asked to.
//! Method: the real program with a full pipe as its stderr, from its first line on.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(20);
const FRAME: Duration = Duration::from_millis(20);

#[test]
fn a_log_that_nobody_reads_holds_up_no_call_and_no_end() {
    let (_reader, writer) = full_pipe();
    let ports: Vec<SocketAddr> = (0..2).map(|_| free_port()).collect();
    let child = Command::new(env!("CARGO_BIN_EXE_diglot"))
        .args(["run", "--set", "asterisk.control=none"])
        .args([
            "--set",
            "translator.engine=loop",
            "--set",
            "translator.listen=127.0.0.1:0",
        ])
        .args(["--set", &format!("extension.7777.listen={}", ports[0])])
        .args(["--set", &format!("extension.8888.listen={}", ports[1])])
        .args(["--set", "asterisk.leg_timeout_ms=500"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()
        .unwrap();
    let mut program = Program(child);
    // The second round finds out whether the legs of the first have ended.
    for round in 0..2 {
        assert!(is_interpreted(&ports), "round {round}");
    }
    kill_process(Pid::from_child(&program.0), Signal::TERM).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while program.0.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let status = program.0.try_wait().unwrap();
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
}

/// Ends with the test, whatever the test finds.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two new phones talk until each has heard something that is not silence.
fn is_interpreted(ports: &[SocketAddr]) -> bool {
    let phones: Vec<_> = ports.iter().map(|port| phone(*port)).collect();
    let mut heard = [false; 2];
    let deadline = Instant::now() + PATIENCE;
    let mut sequence_number = 0_u16;
    while heard != [true; 2] && Instant::now() < deadline {
        for (phone, heard) in phones.iter().zip(&mut heard) {
            // Until the product listens, the kernel refuses for it.
            let _ = phone.send(&packet(sequence_number));
            let mut bytes = [0; 2048];
            while let Ok(length) = phone.recv(&mut bytes) {
                *heard |= bytes[12..length.max(12)].iter().any(|byte| *byte != 0);
            }
        }
        sequence_number = sequence_number.wrapping_add(1);
        std::thread::sleep(FRAME);
    }
    heard == [true; 2]
}

fn phone(gateway: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.connect(gateway).unwrap();
    socket
}

/// 20 ms of a loud square wave, slin16 as Asterisk sends it.
fn packet(sequence_number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 118];
    packet.extend(sequence_number.to_be_bytes());
    packet.extend((u32::from(sequence_number) * 320).to_be_bytes());
    packet.extend([0, 0, 0, 1]);
    for sample in 0..320 {
        let level: i16 = if sample / 16 % 2 == 0 { 8_000 } else { -8_000 };
        packet.extend(level.to_be_bytes());
    }
    packet
}

fn free_port() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

/// A pipe that takes no byte more; whoever writes to it waits.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    while writer.write(b"\n").is_ok() {}
    fcntl_setfl(&writer, OFlags::empty()).unwrap();
    (reader, writer)
}
