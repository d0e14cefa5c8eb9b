//! `rtp-blaster echo` and `relay`: opens the ports, moves packets until told to stop, prints what
//! it cost.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lexopt::Arg::{Long, Short};
use lexopt::ValueExt;
use rtp_blaster::process::{process_times, scheduling, time_of_ticks};
use rtp_blaster::relay::{self, Course, PortCounts};
use serde::Serialize;

use super::{Outcome, Problem, Stop, address, seconds};

const USAGE: &str = "\
Usage: rtp-blaster echo|relay --listen HOST:PORT [--listen HOST:PORT ...] [options]

The controls: what any gateway costs at least. One thread and one socket per port, recvmmsg and
sendmmsg, a wake-up as soon as one packet is there.
  echo    sends every packet back to where it came from
  relay   sends it to the leg of the same rank on the partner port: ports 1 and 2, 3 and 4 ...,
          ranks by the order in which legs are first heard

  --listen HOST:PORT   a port, numeric; port 0 chooses one; may be repeated
  --seconds N          end after N seconds, at most 3600 (Ctrl-C)

The first line printed names the ports; the last one is a report in JSON with the CPU time, user
and system, per packet. One packet in and out is one leg-frame.
";

const STOP_LOOK: Duration = Duration::from_millis(100);
/// Room for the packets of 2000 legs at once.
const PORTS_MAX: usize = 16;

#[derive(Serialize)]
struct Report {
    listen: Vec<SocketAddr>,
    scheduling: String,
    packets: u64,
    packets_per_batch: f64,
    dropped: u64,
    cpu_s: f64,
    cpu_us_per_packet: f64,
    ports: Vec<PortCounts>,
}

struct Options {
    listen: Vec<SocketAddr>,
    course: Course,
    length: Option<Duration>,
}

/// Runs the mode.
pub(crate) fn run(parser: lexopt::Parser, course: Course) -> Result<Outcome, Stop> {
    let Some(options) = parse(parser, course).map_err(Stop::Usage)? else {
        return Ok(Outcome::Help(USAGE));
    };
    relay(&options).map_err(Stop::Failed)?;
    Ok(Outcome::Done)
}

fn relay(options: &Options) -> Result<(), Problem> {
    let bind = |address: &SocketAddr| {
        UdpSocket::bind(address).map_err(|error| format!("{address}: {error}"))
    };
    let sockets: Vec<_> = options.listen.iter().map(bind).collect::<Result<_, _>>()?;
    let listen: Vec<_> = sockets
        .iter()
        .map(UdpSocket::local_addr)
        .collect::<Result<_, _>>()?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let names: Vec<_> = listen.iter().map(SocketAddr::to_string).collect();
    println!("listening on {}", names.join(" "));
    std::io::stdout().flush()?;

    let end = options.length.map(|length| Instant::now() + length);
    let ticks = || process_times(std::process::id()).map_or(0, |times| times.ticks);
    let begun = ticks();
    let ports = thread::scope(|scope| {
        let moving = scope.spawn(|| relay::run(&sockets, options.course, &stop));
        while !stop.load(Ordering::Relaxed) && !moving.is_finished() {
            if end.is_some_and(|end| Instant::now() >= end) {
                stop.store(true, Ordering::Relaxed);
            }
            thread::park_timeout(STOP_LOOK);
        }
        moving
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let cpu_s = time_of_ticks(ticks() - begun).as_secs_f64();
    let total = |count: fn(&PortCounts) -> u64| ports.iter().map(count).sum::<u64>();
    let packets = total(|port| port.received);
    let report = Report {
        listen,
        scheduling: scheduling(),
        packets,
        packets_per_batch: packets as f64 / total(|port| port.batches).max(1) as f64,
        dropped: total(|port| port.dropped),
        cpu_s,
        cpu_us_per_packet: cpu_s * 1e6 / packets.max(1) as f64,
        ports,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// None when help was asked for.
fn parse(mut parser: lexopt::Parser, course: Course) -> Result<Option<Options>, Problem> {
    let mut options = Options {
        listen: Vec::new(),
        course,
        length: None,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("listen") => options.listen.push(address(&parser.value()?.string()?)?),
            Long("seconds") => {
                let length_s = seconds(&parser.value()?.string()?)?;
                options.length = Some(Duration::from_secs_f64(length_s));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let ports = options.listen.len();
    if ports == 0 || ports > PORTS_MAX {
        return Err(
            format!("--listen: want 1 to {PORTS_MAX} ports, such as 127.0.0.1:5000").into(),
        );
    }
    if options.course == Course::Cross && ports % 2 == 1 {
        return Err("--listen: a relay wants an even number of ports".into());
    }
    Ok(Some(options))
}
