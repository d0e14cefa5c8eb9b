//! Goal: the phone plays and records exactly, and its counts are exact when the line is bad.
//! Method: real sockets on loopback; the far end is an echo that spoils chosen packets.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rtp_blaster::codec::UplinkCodec;
use rtp_blaster::phone::{Call, Phone, Script};
use rtp_blaster::playlist::Clip;

/// What sox decodes µ-law codes to: samples that survive µ-law unchanged.
const ULAW_SAMPLES: &[u8; 512] = include_bytes!("data/ulaw_decoded.s16le");
const PACKET_BYTES_MAX: usize = 2048;

/// The far end: gives every packet to `answer` with its number, and sends back what that returns.
struct FarEnd {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl FarEnd {
    fn start(mut answer: impl FnMut(usize, Vec<u8>) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a timeout above zero");
        let address = socket.local_addr().expect("bound");
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut number = 0;
            let mut packet = [0; PACKET_BYTES_MAX];
            while !seen.load(Ordering::Relaxed) {
                let Ok((bytes, source)) = socket.recv_from(&mut packet) else {
                    continue;
                };
                for reply in answer(number, packet[..bytes].to_vec()) {
                    socket.send_to(&reply, source).expect("loopback takes it");
                }
                number += 1;
            }
        });
        Self {
            address,
            is_over,
            thread,
        }
    }

    fn echo() -> Self {
        Self::start(|_, packet| vec![packet])
    }

    fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the far end does not panic");
    }
}

fn script(to: SocketAddr, codec: UplinkCodec, length_ms: u64) -> Script {
    Script {
        to,
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        codec,
        clips: Vec::new(),
        accepted: vec![0, 8, 10, 11],
        length: Duration::from_millis(length_ms),
        until_quiet: None,
    }
}

fn ulaw_samples() -> Vec<i16> {
    let pairs = ULAW_SAMPLES.chunks_exact(2);
    pairs
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

fn speech_clip(start_ms: u32, repeats: usize) -> Clip {
    Clip {
        file: "ulaw".into(),
        start_ms,
        samples: ulaw_samples().repeat(repeats),
    }
}

fn call(script: Script) -> Call {
    Phone::call(script).expect("a port on loopback").wait()
}

#[test]
fn what_is_played_through_an_echo_is_recorded_exactly() {
    let far_end = FarEnd::echo();
    let mut script = script(far_end.address, UplinkCodec::Pcmu, 800);
    let clip = speech_clip(100, 10);
    let played = clip.samples.clone();
    script.clips = vec![clip];
    let call = call(script);
    far_end.stop();

    let begin = call
        .heard
        .iter()
        .position(|&sample| sample != 0)
        .expect("something is heard");
    // 100 ms of the call are 800 samples; placed by the arrival of the first packet.
    assert!(
        (800..800 + 8 * 500).contains(&begin),
        "begins at sample {begin}"
    );
    assert_eq!(call.heard[begin..begin + played.len()], played);
    assert!(
        call.heard[begin + played.len()..]
            .iter()
            .all(|&sample| sample == 0)
    );
    let (sent, received) = (&call.report.sent, &call.report.received);
    assert_eq!((sent.packets, sent.send_errors), (40, 0));
    assert_eq!((received.packets, received.played), (40, 40));
    assert_eq!((received.frames_missing, received.timestamp_errors), (0, 0));
    assert_eq!(call.report.said.len(), 1);
    assert_eq!(call.report.heard.len(), 1);
}

#[test]
fn each_fault_of_the_line_is_counted_exactly() {
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut held_back = Vec::new();
    let far_end = FarEnd::start(move |number, mut packet| match number {
        5 | 10 | 11 => vec![],
        15 => vec![packet.clone(), packet],
        20 => {
            packet[1] = 118;
            vec![packet]
        }
        22 => {
            packet[1] = 3;
            vec![packet]
        }
        25 => {
            held_back = packet;
            vec![]
        }
        26 => vec![packet, std::mem::take(&mut held_back)],
        30 => vec![packet, vec![0x80; 5]],
        35 => {
            packet[7] ^= 0x10; // the timestamp is wrong for one packet: the step to it and from it
            vec![packet]
        }
        _ => vec![packet],
    });
    let phone = Phone::call(script(far_end.address, UplinkCodec::Pcmu, 1000)).unwrap();
    stranger.send_to(&[0x80; 172], phone.local_addr()).unwrap();
    let call = phone.wait();
    far_end.stop();

    let received = &call.report.received;
    assert_eq!(call.report.sent.packets, 50);
    assert_eq!(received.packets, 50 - 3 + 1);
    assert_eq!(
        (received.lost, received.duplicates, received.reordered),
        (3, 1, 1)
    );
    assert_eq!(received.dropped_dynamic_payload_type, 1);
    assert_eq!(received.unsupported_payload_type, 1);
    assert_eq!((received.malformed, received.from_strangers), (1, 1));
    assert_eq!(received.played, 50 - 3 - 2);
    assert_eq!(received.frames_missing, 3 + 2);
    assert_eq!((received.timestamp_errors, received.talkspurts), (2, 0));
    assert_eq!(received.by_payload_type, [(0, 46), (3, 1), (118, 1)].into());
    assert!(received.gap_ms_max > 45.0, "two packets in a row were lost");
}

#[test]
fn slin16_sent_back_as_it_came_is_not_heard() {
    let far_end = FarEnd::start(|_, packet| {
        assert_eq!((packet.len(), packet[0], packet[1]), (652, 0x80, 118));
        vec![packet]
    });
    let mut script = script(far_end.address, UplinkCodec::Slin16, 200);
    script.clips = vec![speech_clip(0, 10)];
    let call = call(script);
    far_end.stop();

    assert_eq!(call.report.received.dropped_dynamic_payload_type, 10);
    assert_eq!(call.report.received.played, 0);
    assert!(call.heard.is_empty());
}

#[test]
fn a_call_ends_when_all_is_said_and_heard() {
    let far_end = FarEnd::echo();
    let mut script = script(far_end.address, UplinkCodec::Slin, 20_000);
    script.clips = vec![speech_clip(0, 10)];
    script.until_quiet = Some(Duration::from_millis(300));
    let call = call(script);
    far_end.stop();

    // 320 ms are said; the echo ends a little later, and 300 ms of quiet follow.
    assert!(
        (0.6..5.0).contains(&call.report.length_s),
        "lasted {} s",
        call.report.length_s
    );
}

#[test]
fn a_call_with_nobody_there_ends_when_told_to() {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let script = script(nobody.local_addr().unwrap(), UplinkCodec::Pcma, 20_000);
    let begun = Instant::now();
    let phone = Phone::call(script).unwrap();
    assert!(!phone.is_over());
    let mut packet = [0; PACKET_BYTES_MAX];
    let (bytes, source) = nobody.recv_from(&mut packet).unwrap();
    assert_eq!((bytes, source), (172, phone.local_addr()));
    phone.hang_up();
    let call = phone.wait();

    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(call.report.received.first_s, None);
    assert!(call.report.heard.is_empty());
}
