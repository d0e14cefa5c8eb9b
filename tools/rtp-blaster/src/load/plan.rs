//! What a load is to be: everything that can be asked for, with its bounds.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::impairment::Impairment;
use crate::codec::{FRAME_MS, UplinkCodec};

/// Fewest legs.
pub const LEGS_MIN: usize = 1;
/// Most legs: what one sender thread can pace on one core with room to spare.
pub const LEGS_MAX: usize = 2_000;
/// Most gateway ports: one for each leg, as gateways have that give every call a port.
pub const PORTS_MAX: usize = LEGS_MAX;
/// Longest warm-up, window and ramp together: 2000 legs make fewer packets in it than 2^32.
pub const DURATION_MAX: Duration = Duration::from_secs(8 * 3600);
/// Most malformed or spoofed packets per second.
pub const HOSTILE_PER_S_MAX: u32 = 100_000;
/// Largest error of a leg's clock: crystals of telephones are within ± 200 ppm.
pub const SKEW_PPM_MAX: f64 = 10_000.0;

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The gateway's RTP addresses; leg k talks to the one at k modulo their number.
    pub to: Vec<SocketAddr>,
    /// Our own address; every leg has a port of its own there.
    pub bind: IpAddr,
    /// Where the legs' ports begin, one after the other; any that are free where none is asked for.
    pub from_port: Option<u16>,
    /// How many legs, in [`LEGS_MIN`] ..= [`LEGS_MAX`].
    pub legs: usize,
    /// What is sent.
    pub codec: UplinkCodec,
    /// What is in it.
    pub voice: Voice,
    /// Who is to be heard on a leg.
    pub hears: Hears,
    /// Payload types that are right on the downlink.
    pub accepted: Vec<u8>,
    /// Time over which the legs begin, in their order.
    pub ramp: Duration,
    /// Sent and received, but not counted, from the end of the ramp on.
    pub warm_up: Duration,
    /// Measured.
    pub window: Duration,
    /// Where all chance comes from.
    pub seed: u64,
    /// What befalls a leg's packets on their way to the gateway.
    pub impairment: Impairment,
    /// Clocks of the legs run fast or slow by up to this, spread evenly from -x to +x, in ppm.
    pub skew_ppm: f64,
    /// When a leg is mute.
    pub pause: Option<Cycle>,
    /// When a key is pressed.
    pub telephone_event_every: Option<Duration>,
    /// Packets per second that are no RTP, from the legs' own addresses.
    pub malformed_per_s: u32,
    /// Packets per second of good RTP from addresses that are no leg's.
    pub spoofed_per_s: u32,
    /// Processes whose CPU time is taken over the window.
    pub cpu_of: Vec<u32>,
}

/// What the legs say.
#[derive(Clone, Debug)]
pub enum Voice {
    /// Tone bursts in silence that tell who spoke and when, so often.
    Markers(Duration),
    /// One steady tone per leg.
    Tone,
    /// Samples at the codec's rate, over and over; each leg begins elsewhere.
    Wav(Vec<i16>),
}

/// Who is heard on a leg when all is well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hears {
    /// Anyone: nothing is wrong.
    Anyone,
    /// The leg of the same rank on the partner port, as behind a gateway that pairs first come,
    /// first served.
    Partner,
    /// The leg itself, as behind an echo.
    Self_,
}

/// Something that comes round: `length` at the end of each `every`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cycle {
    /// From one beginning to the next.
    pub every: Duration,
    /// Shorter than `every`.
    pub length: Duration,
}

impl Plan {
    /// A clean run with markers.
    pub fn new(to: Vec<SocketAddr>, legs: usize) -> Self {
        let hears = if to.len() < 2 {
            Hears::Self_
        } else {
            Hears::Partner
        };
        Self {
            to,
            bind: IpAddr::from([127, 0, 0, 1]),
            from_port: None,
            legs,
            codec: UplinkCodec::Pcmu,
            voice: Voice::Markers(Duration::from_secs(2)),
            hears,
            accepted: vec![0, 8, 9, 10, 11],
            ramp: Duration::from_secs(1),
            warm_up: Duration::from_secs(2),
            window: Duration::from_secs(10),
            seed: 1,
            impairment: Impairment::default(),
            skew_ppm: 0.0,
            pause: None,
            telephone_event_every: None,
            malformed_per_s: 0,
            spoofed_per_s: 0,
            cpu_of: Vec::new(),
        }
    }

    /// Says in one sentence what is out of bounds.
    ///
    /// # Errors
    /// That sentence.
    pub fn check(&self) -> Result<(), String> {
        if !(LEGS_MIN..=LEGS_MAX).contains(&self.legs) {
            return Err(format!(
                "--legs {}: want {LEGS_MIN} to {LEGS_MAX}",
                self.legs
            ));
        }
        if self.to.is_empty() || self.to.len() > PORTS_MAX {
            return Err(format!(
                "--to: want 1 to {PORTS_MAX} of the gateway's addresses"
            ));
        }
        let is_paired = self.to.len().is_multiple_of(2) && self.legs.is_multiple_of(self.to.len());
        if self.hears == Hears::Partner && !is_paired {
            return Err(
                "--hears partner: want an even number of --to, and as many legs on each".into(),
            );
        }
        if self.window.is_zero() || self.ramp + self.warm_up + self.window > DURATION_MAX {
            return Err(format!(
                "--seconds: want more than 0, with ramp and warm-up at most {DURATION_MAX:?}"
            ));
        }
        let last_port = self
            .from_port
            .map(|first| usize::from(first) + self.legs - 1);
        if self.from_port == Some(0) || last_port > Some(usize::from(u16::MAX)) {
            return Err(format!("--from-port: {} ports do not fit", self.legs));
        }
        if self.malformed_per_s.max(self.spoofed_per_s) > HOSTILE_PER_S_MAX {
            return Err(format!(
                "at most {HOSTILE_PER_S_MAX} malformed or spoofed packets per second"
            ));
        }
        if !(0.0..=SKEW_PPM_MAX).contains(&self.skew_ppm) {
            return Err(format!(
                "--skew-ppm {}: want 0 to {SKEW_PPM_MAX}",
                self.skew_ppm
            ));
        }
        match &self.voice {
            Voice::Wav(samples) if samples.len() < self.codec.frame_samples() as usize => {
                Err("--wav: shorter than a frame".into())
            }
            _ => self.impairment.check(),
        }
    }

    /// The port of a leg, as its index in `to`.
    pub fn port_of(&self, leg: usize) -> usize {
        leg % self.to.len()
    }

    /// Our own address on a leg.
    pub fn address_of(&self, leg: usize) -> SocketAddr {
        // The check saw to it that all ports are below 2^16.
        let port = self.from_port.map_or(0, |first| first + leg as u16);
        SocketAddr::new(self.bind, port)
    }

    /// The leg that should be heard on this one.
    pub fn heard_on(&self, leg: usize) -> Option<usize> {
        match self.hears {
            Hears::Anyone => None,
            Hears::Partner => Some(leg ^ 1),
            Hears::Self_ => Some(leg),
        }
    }

    /// When a leg's first packet is due: legs begin in order, with phases spread over one frame.
    pub fn start_of(&self, leg: usize) -> Duration {
        let frame = Duration::from_millis(FRAME_MS.into());
        let (leg, legs) = (leg as u32, self.legs as u32);
        let ramp_frames = self.ramp.as_millis() as u32 / FRAME_MS;
        frame * (ramp_frames * leg / legs) + frame * leg / legs
    }

    /// How long a leg's frame really lasts by our clock.
    pub fn frame_of(&self, leg: usize) -> Duration {
        let spread = if self.legs > 1 {
            2.0 * leg as f64 / (self.legs - 1) as f64 - 1.0
        } else {
            0.0
        };
        let frame_ns = f64::from(FRAME_MS) * 1e6 * (1.0 + spread * self.skew_ppm / 1e6);
        Duration::from_nanos(frame_ns.round() as u64)
    }

    /// When the window begins, counted from the first packet.
    pub fn window_start(&self) -> Duration {
        self.ramp + self.warm_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(legs: usize) -> Plan {
        let port = |number| SocketAddr::from(([127, 0, 0, 1], number));
        Plan::new(vec![port(5000), port(5001)], legs)
    }

    /// Goal: legs of each port begin in order and no two at the same moment. Method: 500 legs.
    #[test]
    fn legs_begin_in_order_with_phases_spread() {
        let plan = plan(500);
        let starts: Vec<_> = (0..500).map(|leg| plan.start_of(leg)).collect();
        assert!(starts.is_sorted_by(|a, b| a < b));
        let frame_ns = 20_000_000;
        let mut phases: Vec<_> = starts.iter().map(|s| s.as_nanos() % frame_ns).collect();
        phases.sort_unstable();
        assert!(
            phases
                .windows(2)
                .all(|pair| pair[1] - pair[0] == frame_ns / 500)
        );
        assert!(starts[499] < plan.ramp);
    }

    /// Goal: clocks are spread from slow to fast. Method: the first, the last and a whole set.
    #[test]
    fn skew_is_spread_evenly() {
        let mut plan = plan(3);
        plan.skew_ppm = 200.0;
        let frames: Vec<_> = (0..3).map(|leg| plan.frame_of(leg).as_nanos()).collect();
        assert_eq!(frames, [19_996_000, 20_000_000, 20_004_000]);
    }

    /// Goal: what cannot work is refused. Method: one wrong plan per bound.
    #[test]
    fn bounds_are_checked() {
        assert_eq!(plan(2).check(), Ok(()));
        assert!(plan(0).check().is_err());
        assert!(plan(2_001).check().is_err());
        assert!(plan(3).check().unwrap_err().contains("--hears"));
        let mut odd = plan(2);
        odd.to.clear();
        assert!(odd.check().is_err());
        let mut high = plan(2);
        high.from_port = Some(u16::MAX - 1);
        assert_eq!(high.check(), Ok(()));
        assert_eq!(high.address_of(1).port(), u16::MAX);
        high.from_port = Some(u16::MAX);
        assert!(high.check().is_err());
        let mut still = plan(2);
        still.window = Duration::ZERO;
        assert!(still.check().is_err());
    }
}
