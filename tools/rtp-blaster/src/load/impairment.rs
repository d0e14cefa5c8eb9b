//! What a bad network does to the packets of one leg. Pure and seeded: the same seed gives the
//! same fate to the same packet, whatever the clock says.

use std::time::Duration;

use crate::codec::FRAME_MS;

/// A jittered packet is delayed at most this many times the shape's scale.
const JITTER_SCALES_MAX: f64 = 4.0;
/// Largest scale of jitter: it bounds the packets that are on their way.
const JITTER_MAX: Duration = Duration::from_millis(250);
/// A reordered packet leaves this long after the one that should have followed it.
const REORDER_BEHIND: Duration = Duration::from_millis(1);
const FRAME: Duration = Duration::from_millis(FRAME_MS as u64);

/// Everything a network may do; nothing by default. Shares are in 0 ..= 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Impairment {
    /// Share of packets lost, each on its own.
    pub loss: f64,
    /// Losses that come together.
    pub burst_loss: Option<BurstLoss>,
    /// Share of packets that come twice.
    pub duplicate: f64,
    /// Share of packets held back behind their successor.
    pub reorder: f64,
    /// Delays that differ.
    pub jitter: Option<Jitter>,
}

/// The Gilbert–Elliott model: a good state that loses nothing and a bad one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurstLoss {
    /// Share of packets lost in the long run, below `bad_loss`.
    pub mean_loss: f64,
    /// Mean stay in the bad state, in packets, at least 1.
    pub burst_packets: f64,
    /// Share of packets lost in the bad state.
    pub bad_loss: f64,
}

/// Delay on top of the schedule, drawn anew for each packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter {
    /// How it is distributed.
    pub shape: JitterShape,
    /// Upper end, mean or deviation: see the shape. At most 250 ms.
    pub scale: Duration,
}

/// A distribution of delays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JitterShape {
    /// Mean `scale`, cut at four times that.
    Exponential,
    /// The magnitude of a normal deviate with standard deviation `scale`, cut at four times that.
    HalfNormal,
    /// From 0 to `scale`.
    Uniform,
}

/// What happens to one packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It is sent, late by so much; perhaps twice.
    Sent {
        /// On top of the schedule.
        delay: Duration,
        /// How many times, 1 or 2.
        copies: u8,
        /// Whether its successor leaves first.
        is_held_back: bool,
    },
    /// Lost on its own.
    Lost,
    /// Lost in a burst.
    LostInBurst,
}

impl Fate {
    /// A packet on a perfect line.
    pub const PUNCTUAL: Self = Self::Sent {
        delay: Duration::ZERO,
        copies: 1,
        is_held_back: false,
    };
}

impl Impairment {
    /// Says in one sentence what is out of bounds.
    ///
    /// # Errors
    /// That sentence.
    pub fn check(&self) -> Result<(), String> {
        let shares = [self.loss, self.duplicate, self.reorder];
        if shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
            return Err("loss, duplicates and reordering: want 0 to 100 percent".into());
        }
        if let Some(burst) = &self.burst_loss {
            let is_possible = (0.0..burst.bad_loss).contains(&burst.mean_loss)
                && (0.0..=1.0).contains(&burst.bad_loss)
                && burst.burst_packets >= 1.0
                && burst.entry() <= 1.0;
            if !is_possible {
                let wanted =
                    "want a mean below the loss in bursts, and bursts of at least 1 packet";
                return Err(format!("burst loss: {wanted}"));
            }
        }
        match self.jitter {
            Some(jitter) if jitter.scale > JITTER_MAX => {
                Err(format!("jitter: want at most {JITTER_MAX:?}"))
            }
            _ => Ok(()),
        }
    }

    /// The longest a packet can be under way.
    pub fn delay_max(&self) -> Duration {
        let jitter = self.jitter.map_or(Duration::ZERO, |jitter| {
            jitter.scale.mul_f64(JITTER_SCALES_MAX)
        });
        let reorder = if self.reorder > 0.0 {
            FRAME + REORDER_BEHIND
        } else {
            Duration::ZERO
        };
        jitter + reorder
    }
}

impl BurstLoss {
    /// Chance per packet to fall from the good state into the bad one.
    fn entry(&self) -> f64 {
        let share_bad = self.mean_loss / self.bad_loss;
        share_bad / (self.burst_packets * (1.0 - share_bad))
    }
}

/// One leg's way through the network.
#[derive(Clone, Debug)]
pub struct Network {
    impairment: Impairment,
    random: fastrand::Rng,
    is_in_burst: bool,
}

impl Network {
    /// A way whose chances follow the seed.
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        Self {
            impairment,
            random: fastrand::Rng::with_seed(seed),
            is_in_burst: false,
        }
    }

    /// The fate of the next packet.
    pub fn decide(&mut self) -> Fate {
        // Every chance is drawn for every packet, so that switching one impairment on leaves the
        // draws of the others as they were.
        let [loss, burst, stay, duplicate, reorder] = std::array::from_fn(|_| self.random.f64());
        let delay = self.delay();
        if let Some(model) = self.impairment.burst_loss {
            let leaves = 1.0 / model.burst_packets;
            let turn = if self.is_in_burst {
                leaves
            } else {
                model.entry()
            };
            self.is_in_burst ^= stay < turn;
            if self.is_in_burst && burst < model.bad_loss {
                return Fate::LostInBurst;
            }
        }
        if loss < self.impairment.loss {
            return Fate::Lost;
        }
        let is_held_back = reorder < self.impairment.reorder;
        let behind = if is_held_back {
            FRAME + REORDER_BEHIND
        } else {
            Duration::ZERO
        };
        Fate::Sent {
            delay: delay + behind,
            copies: 1 + u8::from(duplicate < self.impairment.duplicate),
            is_held_back,
        }
    }

    fn delay(&mut self) -> Duration {
        let Some(jitter) = self.impairment.jitter else {
            return Duration::ZERO;
        };
        // 1 - f64() is in (0, 1]: its logarithm is finite.
        let (first, second) = (1.0 - self.random.f64(), self.random.f64());
        let scales = match jitter.shape {
            JitterShape::Exponential => -first.ln(),
            JitterShape::HalfNormal => {
                ((-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos()).abs()
            }
            JitterShape::Uniform => second,
        };
        jitter.scale.mul_f64(scales.min(JITTER_SCALES_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: usize = 200_000;

    fn fates(impairment: Impairment, seed: u64) -> Vec<Fate> {
        impairment.check().unwrap();
        let mut network = Network::new(impairment, seed);
        (0..PACKETS).map(|_| network.decide()).collect()
    }

    fn share(fates: &[Fate], is_meant: impl Fn(&Fate) -> bool) -> f64 {
        fates.iter().filter(|fate| is_meant(fate)).count() as f64 / fates.len() as f64
    }

    /// Goal: a perfect line does nothing, and one seed gives one fate. Method: long streams.
    #[test]
    fn same_seed_same_fate() {
        let clean = fates(Impairment::default(), 1);
        assert!(clean.iter().all(|&fate| fate == Fate::PUNCTUAL));
        let bad = Impairment {
            loss: 0.3,
            duplicate: 0.1,
            ..Impairment::default()
        };
        assert_eq!(fates(bad.clone(), 7), fates(bad.clone(), 7));
        assert_ne!(fates(bad.clone(), 7), fates(bad, 8));
    }

    /// Goal: shares are what was asked for. Method: 200 000 packets, within five deviations.
    #[test]
    fn shares_are_kept() {
        let impairment = Impairment {
            loss: 0.05,
            duplicate: 0.02,
            reorder: 0.01,
            ..Impairment::default()
        };
        let fates = fates(impairment, 3);
        assert!((share(&fates, |f| *f == Fate::Lost) - 0.05).abs() < 0.0025);
        let twice = share(&fates, |f| matches!(f, Fate::Sent { copies: 2, .. }));
        assert!((twice - 0.02 * 0.95).abs() < 0.0016);
        let behind = share(&fates, |f| {
            matches!(
                f,
                Fate::Sent {
                    is_held_back: true,
                    ..
                }
            )
        });
        assert!((behind - 0.01 * 0.95).abs() < 0.0012);
    }

    /// Goal: bursts have the asked mean and length. Method: 10 % in bursts of 5, all lost inside.
    #[test]
    fn bursts_have_their_length() {
        let burst = BurstLoss {
            mean_loss: 0.10,
            burst_packets: 5.0,
            bad_loss: 1.0,
        };
        let impairment = Impairment {
            burst_loss: Some(burst),
            ..Impairment::default()
        };
        let fates = fates(impairment, 5);
        assert!((share(&fates, |f| *f == Fate::LostInBurst) - 0.10).abs() < 0.01);
        let bursts = fates.chunk_by(|a, b| (*a == Fate::LostInBurst) == (*b == Fate::LostInBurst));
        let lengths: Vec<_> = bursts
            .filter(|run| run[0] == Fate::LostInBurst)
            .map(<[Fate]>::len)
            .collect();
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        assert!((mean - 5.0).abs() < 0.4, "mean burst of {mean}");
    }

    /// Goal: each shape of jitter has its mean and stays below its bound. Method: 200 000 delays.
    #[test]
    fn jitter_has_its_shape() {
        let scale = Duration::from_millis(20);
        // Means: 1 - e^-4 with the cut at 4, sqrt(2 / pi), 1/2.
        let shapes = [
            (JitterShape::Exponential, 19.63),
            (JitterShape::HalfNormal, 15.96),
            (JitterShape::Uniform, 10.0),
        ];
        for (shape, mean_ms) in shapes {
            let impairment = Impairment {
                jitter: Some(Jitter { shape, scale }),
                ..Impairment::default()
            };
            let longest = impairment.delay_max();
            let delays: Vec<_> = fates(impairment, 9)
                .into_iter()
                .map(|fate| match fate {
                    Fate::Sent { delay, .. } => delay,
                    lost => panic!("{lost:?}"),
                })
                .collect();
            assert!(delays.iter().all(|delay| *delay <= longest));
            let mean = delays.iter().sum::<Duration>().as_secs_f64() * 1e3 / PACKETS as f64;
            assert!((mean - mean_ms).abs() < 0.3, "{shape:?}: mean {mean} ms");
        }
    }

    /// Goal: what cannot be is refused. Method: one impossible line per bound.
    #[test]
    fn impossible_lines_are_refused() {
        let burst = |mean_loss, burst_packets| {
            let burst_loss = Some(BurstLoss {
                mean_loss,
                burst_packets,
                bad_loss: 1.0,
            });
            Impairment {
                burst_loss,
                ..Impairment::default()
            }
        };
        assert!(burst(0.3, 5.0).check().is_ok());
        assert!(burst(1.0, 5.0).check().is_err());
        assert!(
            burst(0.9, 1.0).check().is_err(),
            "no way out of the good state is that fast"
        );
        assert!(burst(0.1, 0.5).check().is_err());
        let loss = 1.1;
        assert!(
            Impairment {
                loss,
                ..Impairment::default()
            }
            .check()
            .is_err()
        );
    }
}
