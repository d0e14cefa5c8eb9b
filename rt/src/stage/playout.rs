//! Downlink, first step: bursts from the link thread become one frame for every leg on every tick,
//! at the rate of the leg's codec.

use rtrb::{Consumer, Producer, PushError};

use crate::dsp::resample::Downsampler;
use crate::limits::{PHASES, TICK_LATE_US};
use crate::msg::{Comfort, DownlinkFrame, LegId, PlayFrame, Sound, TxLeg};
use crate::phases::Phase;
use crate::playout::{Heard, Played, Playout as Buffer, Pushed, Repair};
use crate::pool::{AddError, Legs};
use crate::stats::{TxCount, TxCounts};
use crate::time::Tick;
use crate::units::{FRAME_SAMPLES_MAX, FRAME_US, SampleRate};

#[derive(Debug)]
struct Leg {
    phase: Phase,
    buffer: Buffer,
    rate: SampleRate,
    downsampler: Downsampler,
    comfort: Comfort,
    last: Last,
}

/// What the last tick played. Any fade-out is over within one frame, so after a silent one the
/// resampler is at rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Last {
    Audible,
    Silent,
}

/// [`DownlinkFrame`]s in, one [`PlayFrame`] for each leg and tick out.
#[derive(Debug)]
pub struct Playout {
    legs: Legs<Leg>,
    input: Consumer<DownlinkFrame>,
    out: Producer<PlayFrame>,
}

impl Playout {
    /// Bytes reserved for each leg; its share of the rings comes on top.
    pub const BYTES_PER_LEG: usize = Legs::<Leg>::BYTES_PER_LEG;

    /// A stage with room for legs in slots 0 .. `legs_max`.
    ///
    /// # Real-time
    /// Set-up only: allocates all it will ever need.
    pub fn new(legs_max: usize, input: Consumer<DownlinkFrame>, out: Producer<PlayFrame>) -> Self {
        Self {
            legs: Legs::with_groups(legs_max, PHASES),
            input,
            out,
        }
    }

    /// Takes a leg in: from its phase's next tick on it has a frame on every one.
    ///
    /// # Errors
    /// [`AddError`] if its slot is out of range or taken, or its codec cannot be sent.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn add_leg(&mut self, leg: &TxLeg, phase: Phase) -> Result<(), AddError> {
        if !leg.codec.is_static() {
            return Err(AddError::CodecNotStatic);
        }
        self.legs.add_to(
            phase.0,
            leg.leg,
            Leg {
                phase,
                buffer: Buffer::new(leg.comfort),
                rate: leg.codec.sample_rate(),
                downsampler: Downsampler::new(),
                comfort: leg.comfort,
                last: Last::Silent,
            },
        )
    }

    /// Lets a leg go, with what it had still to hear, and says which phase it leaves.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn remove_leg(&mut self, leg: LegId) -> Option<Phase> {
        self.legs.remove(leg).map(|leg| leg.phase)
    }

    /// Moves at most `budget` frames from the ring to their legs and says how many there were.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn collect(&mut self, budget: usize, counts: &TxCounts) -> usize {
        let ready = self.input.slots().min(budget);
        let Ok(chunk) = self.input.read_chunk(ready) else {
            return 0;
        };
        let (older, newer) = chunk.as_slices();
        for frame in older.iter().chain(newer) {
            let Some(leg) = self.legs.find_mut(frame.leg) else {
                counts.count(TxCount::DropStaleLeg);
                continue;
            };
            if leg.buffer.push(frame) == Pushed::KeptForOldest {
                counts.count(TxCount::DropPlayoutFull);
            }
        }
        chunk.commit_all();
        ready
    }

    /// Gives every live leg of a phase its frame of this tick.
    ///
    /// Counts late ticks, speech, silence, holes and repairs; [`TxCount::Tick`] and
    /// [`TxCount::TickMissed`] are the clock's owner's to count.
    ///
    /// # Real-time
    /// Wait-free, no allocation; cost by live legs.
    pub fn tick(&mut self, phase: Phase, tick: Tick, counts: &TxCounts) {
        let out = &mut self.out;
        let mut wide = [0; FRAME_SAMPLES_MAX];
        count_lateness(tick.woke_late_us(), counts);
        self.legs.for_each_in(phase.0, |id, leg| {
            let Heard {
                played,
                repair,
                given_up,
            } = leg.buffer.tick(&mut wide);
            count(played, repair, counts);
            counts.add(TxCount::DropPlayoutLate, given_up.into());
            let is_audible =
                matches!(repair, Some(Repair::Concealed)) || leg.comfort != Comfort::Silence;
            let sound = match played {
                Played::Hole | Played::Idle => Sound::Comfort,
                Played::Speech(utterance) => Sound::Speech(utterance),
            };
            let mut frame = PlayFrame {
                leg: id,
                slot: tick.slot,
                samples: [0; FRAME_SAMPLES_MAX],
                rate: leg.rate,
                sound,
            };
            let is_silent = sound == Sound::Comfort && !is_audible;
            let is_at_rest = is_silent && leg.last == Last::Silent;
            leg.last = if is_silent {
                Last::Silent
            } else {
                Last::Audible
            };
            match leg.rate {
                _ if is_at_rest => {}
                SampleRate::Hz8000 => {
                    if let Some(narrow) = frame.samples.first_chunk_mut() {
                        leg.downsampler.process(&wide, narrow);
                    }
                }
                SampleRate::Hz16000 => frame.samples = wide,
            }
            if let Err(PushError::Full(_)) = out.push(frame) {
                counts.count(TxCount::DropRingFull);
            }
        });
    }

    /// Legs that get a frame on every tick.
    pub fn live_legs(&self) -> usize {
        self.legs.live()
    }
}

/// What is told apart of late ticks: beyond a tenth and a quarter of what a phone's buffer bears,
/// and beyond a whole frame, so that slots were missed. In microseconds.
const LATENESS_BOUNDS_US: [(TxCount, u64); 4] = [
    (TxCount::TickLate, TICK_LATE_US),
    (TxCount::TickLate2ms, 2_000),
    (TxCount::TickLate5ms, 5_000),
    (TxCount::TickLate20ms, FRAME_US),
];

fn count_lateness(late_us: u64, counts: &TxCounts) {
    for (what, _) in LATENESS_BOUNDS_US.iter().filter(|(_, us)| late_us > *us) {
        counts.count(*what);
    }
    counts.raise(TxCount::TickLateMax, late_us);
}

fn count(played: Played, repair: Option<Repair>, counts: &TxCounts) {
    counts.count(match played {
        Played::Hole => TxCount::FrameHole,
        Played::Idle => TxCount::FrameIdle,
        Played::Speech(_) => TxCount::FrameSpeech,
    });
    if let Some(repair) = repair {
        counts.count(match repair {
            Repair::Compressed => TxCount::FrameCompressed,
            Repair::Concealed => TxCount::FrameConcealed,
            Repair::Repeated => TxCount::FrameRepeated,
            Repair::Skipped => TxCount::FrameSkipped,
            Repair::Stretched => TxCount::FrameStretched,
        });
    }
}
