//! Counters that one thread writes and any thread may read, and the reasons things are dropped.

use core::sync::atomic::{AtomicU64, Ordering};

/// A count with one writer.
///
/// # Real-time
/// Wait-free: a plain load and store, no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the thread that owns the counter may call this.
    pub fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Replaces the value. Only the thread that owns the counter may call this.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A table of counters, for whoever adds several of them up.
pub trait Counted {
    /// What it counts.
    type What: Copy;

    /// How many so far.
    fn value_of(&self, what: Self::What) -> u64;
}

/// Declares an enumeration of things that are counted and its table of single-writer counters.
#[macro_export]
macro_rules! counted {
    (
        $(#[$meta:meta])*
        $name:ident, $counts:ident {
            $($(#[$doc:meta])* $variant:ident => $text:literal),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(usize)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// Every one, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in logs and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        /// One single-writer counter for each of the above.
        #[derive(Debug)]
        pub struct $counts([$crate::stats::Counter; $name::ALL.len()]);

        impl Default for $counts {
            fn default() -> Self {
                Self(core::array::from_fn(|_| $crate::stats::Counter::default()))
            }
        }

        impl $crate::stats::Counted for $counts {
            type What = $name;

            fn value_of(&self, what: $name) -> u64 {
                self.value(what)
            }
        }

        impl $counts {
            /// Counts one more.
            pub fn count(&self, what: $name) {
                self.add(what, 1);
            }

            /// Counts `n` more.
            pub fn add(&self, what: $name, n: u64) {
                self.0[what as usize].add(n);
            }

            /// Raises a maximum to `value`, if it is below it.
            pub fn raise(&self, what: $name, value: u64) {
                let kept = &self.0[what as usize];
                kept.set(kept.value().max(value));
            }

            /// How many so far.
            pub fn value(&self, what: $name) -> u64 {
                self.0[what as usize].value()
            }
        }
    };
}

counted! {
    /// What an rx tile counts.
    RxCount, RxCounts {
        /// Datagrams read.
        Datagram => "rx_datagram_total",
        /// Frames passed on to the link thread.
        Frame => "rx_frame_total",
        /// Frames with sound in them that was made up from what went before a gap.
        FrameConcealed => "rx_frame_concealed_total",
        /// Frames made up for a gap or a silent phone.
        FrameFilled => "rx_frame_filled_total",
        /// Frames of pauses left out, to make good for frames made up while packets were delayed.
        FrameSkipped => "rx_frame_skipped_total",
        /// Packets of comfort noise, which say that the phone is silent.
        ComfortNoise => "rx_comfort_noise_total",
        /// Packets that tell of keys.
        TelephoneEvent => "rx_telephone_event_total",
        /// Dropped: not RTP, or RTP of a shape we do not read.
        DropMalformed => "rx_drop_malformed_total",
        /// Dropped: from an address no leg owns.
        DropUnknownSource => "rx_drop_unknown_source_total",
        /// Dropped: a payload type that the leg's codec does not have.
        DropPayloadType => "rx_drop_payload_type_total",
        /// Dropped: an empty payload, or not a whole number of the codec's samples.
        DropPayloadSize => "rx_drop_payload_size_total",
        /// Dropped: seen before.
        DropDuplicate => "rx_drop_duplicate_total",
        /// Dropped: came after its place had been given up.
        DropLate => "rx_drop_late_total",
        /// Dropped: the ring to the next stage or to the link thread was full.
        DropRingFull => "rx_drop_ring_full_total",
        /// Keys that were not told: more than anybody presses.
        DropKey => "rx_drop_key_total",
        /// Dropped: for a leg that has ended.
        DropStaleLeg => "rx_drop_stale_leg_total",
        /// Events that did not fit their ring.
        EventLost => "rx_event_lost_total",
        /// The sender changed its SSRC or jumped; the stream was taken up anew.
        Resync => "rx_resync_total",
        /// Packets put back into order.
        Reordered => "rx_reordered_total",
        /// Legs that could not be taken in: a mistake of ours.
        LegRefused => "rx_leg_refused_total",
        /// Receive calls that failed for another reason than an empty socket.
        SocketError => "rx_socket_error_total",
    }
}

counted! {
    /// What a tx tile counts.
    TxCount, TxCounts {
        /// Ticks served.
        Tick => "tx_tick_total",
        /// Ticks served more than a millisecond after their deadline.
        TickLate => "tx_tick_late_total",
        /// Ticks served more than 2 ms after their deadline.
        TickLate2ms => "tx_tick_late_2ms_total",
        /// Ticks served more than 5 ms after their deadline.
        TickLate5ms => "tx_tick_late_5ms_total",
        /// Ticks served more than 20 ms after their deadline.
        TickLate20ms => "tx_tick_late_20ms_total",
        /// The longest that a tick was served after its deadline, in microseconds: a maximum, to be
        /// compared between tiles and never added up.
        TickLateMax => "tx_tick_late_max_us",
        /// Slots that were never served because the tile woke too late.
        TickMissed => "tx_tick_missed_total",
        /// Packets sent.
        Packet => "tx_packet_total",
        /// Frames of speech among them.
        FrameSpeech => "tx_frame_speech_total",
        /// Frames sent in the middle of an utterance without audio of it, for want of any.
        FrameHole => "tx_frame_hole_total",
        /// Frames with sound that was made up from what went before a hole.
        FrameConcealed => "tx_frame_concealed_total",
        /// Frames of silence, for nothing was to be said.
        FrameIdle => "tx_frame_idle_total",
        /// Frames of sound from which a period was left out, to keep a live stream's delay small.
        FrameCompressed => "tx_frame_compressed_total",
        /// Frames of sound of which a period was said twice, to keep a live stream from breaking.
        FrameStretched => "tx_frame_stretched_total",
        /// Frames of a live stream's pauses that were left out.
        FrameSkipped => "tx_frame_skipped_total",
        /// Frames of a live stream's pauses that were said twice.
        FrameRepeated => "tx_frame_repeated_total",
        /// Dropped: the leg's playout buffer was full.
        DropPlayoutFull => "tx_drop_playout_full_total",
        /// Dropped: live audio that more had come after than is worth waiting for.
        DropPlayoutLate => "tx_drop_playout_late_total",
        /// Dropped: for a leg that has ended.
        DropStaleLeg => "tx_drop_stale_leg_total",
        /// Dropped: the ring to the next stage was full.
        DropRingFull => "tx_drop_ring_full_total",
        /// Events that did not fit their ring.
        EventLost => "tx_event_lost_total",
        /// Legs that could not be taken in: a mistake of ours.
        LegRefused => "tx_leg_refused_total",
        /// Send calls that failed.
        SocketError => "tx_socket_error_total",
    }
}
