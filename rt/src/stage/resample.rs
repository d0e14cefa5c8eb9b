//! Uplink, second step: frames at a codec's rate become frames at 16 kHz, for recogniser and mixer.

use rtrb::{Consumer, Producer, PushError};

use crate::dsp::resample::Upsampler;
use crate::msg::{LegId, RxLeg, UplinkFrame};
use crate::pool::{AddError, Legs};
use crate::stats::{RxCount, RxCounts};
use crate::units::SampleRate;

/// [`UplinkFrame`]s of any rate in, of 16 kHz out.
#[derive(Debug)]
pub struct Resample {
    legs: Legs<Upsampler>,
    input: Consumer<UplinkFrame>,
    out: Producer<UplinkFrame>,
}

impl Resample {
    /// Bytes reserved for each leg; its share of the rings comes on top.
    pub const BYTES_PER_LEG: usize = Legs::<Upsampler>::BYTES_PER_LEG;

    /// A stage with room for legs in slots 0 .. `legs_max`.
    ///
    /// # Real-time
    /// Set-up only: allocates all it will ever need.
    pub fn new(legs_max: usize, input: Consumer<UplinkFrame>, out: Producer<UplinkFrame>) -> Self {
        Self {
            legs: Legs::new(legs_max),
            input,
            out,
        }
    }

    /// Takes a leg in.
    ///
    /// # Errors
    /// [`AddError`] if its slot is out of range or taken.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn add_leg(&mut self, leg: &RxLeg) -> Result<(), AddError> {
        self.legs.add(leg.leg, Upsampler::new())
    }

    /// Lets a leg go; frames of it that are still on their way will be counted as stale.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn remove_leg(&mut self, leg: LegId) {
        self.legs.remove(leg);
    }

    /// Handles at most `budget` frames and says how many there were.
    ///
    /// Counts every frame it passes on as [`RxCount::Frame`].
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn step(&mut self, budget: usize, counts: &RxCounts) -> usize {
        let ready = self.input.slots().min(budget);
        let Ok(chunk) = self.input.read_chunk(ready) else {
            return 0;
        };
        let (older, newer) = chunk.as_slices();
        for frame in older.iter().chain(newer) {
            let Some(upsampler) = self.legs.find_mut(frame.leg) else {
                counts.count(RxCount::DropStaleLeg);
                continue;
            };
            let mut wide = *frame;
            if frame.rate == SampleRate::Hz8000 {
                wide.rate = SampleRate::Hz16000;
                if let Some(narrow) = frame.samples.first_chunk() {
                    upsampler.process(narrow, &mut wide.samples);
                }
            }
            match self.out.push(wide) {
                Ok(()) => counts.count(RxCount::Frame),
                Err(PushError::Full(_)) => counts.count(RxCount::DropRingFull),
            }
        }
        chunk.commit_all();
        ready
    }
}
