//! The interpreter's bounds and delays, with the reason for each.

/// Utterances of one leg that wait for their turn; more are not spoken, only captioned. Four are
/// more than a listener can be behind and still follow.
pub const UTTERANCES_MAX: usize = 4;

/// Characters of one utterance; at this length it is closed, so that a speaker who never pauses is
/// interpreted all the same: about half a minute of speech.
pub const UTTERANCE_CHARS_MAX: usize = 500;

/// Characters of what was said before that a translation is given as context.
pub const CONTEXT_CHARS_MAX: usize = 500;

/// Time for one translation, retries included.
pub const TRANSLATION_MS_MAX: u64 = 2500;

/// Time until the first sample of speech, retries included.
pub const SPEECH_FIRST_MS_MAX: u64 = 3000;

/// Time from the first to the last sample of one utterance's speech: vendors make speech faster
/// than it plays, and half a minute of it plays.
pub const SPEECH_MS_MAX: u64 = 30_000;

/// What a job is given beyond its deadline to report by itself.
pub const WATCHDOG_GRACE_MS: u64 = 500;

/// An utterance with a final whose end is never told is closed after this long without a word.
pub const UTTERANCE_END_MS_MAX: u64 = 2000;

/// Pauses before a recognition stream that ended is opened again, one after the other; the last one
/// is repeated.
pub const REOPEN_MS: [u64; 5] = [0, 250, 500, 1000, 2000];

/// Pause before a stream is tried again that the vendor refuses for a lasting reason (key, quota).
pub const REOPEN_REFUSED_MS: u64 = 10_000;

/// Pause before a stream is tried again for which no recogniser was free.
pub const REOPEN_BUSY_MS: u64 = 1000;

/// A stream that was open for so long has worked: the next failure starts the pauses anew.
pub const STREAM_STABLE_MS: u64 = 5000;

/// How far apart the marks are by which a recogniser's times are told in ours.
pub const MARK_MS: u64 = 100;

/// Marks kept: 25 s, more than a recogniser is ever behind.
pub const MARKS_MAX: usize = 256;

/// Samples in a millisecond at 16 kHz.
pub const SAMPLES_PER_MS: u64 = 16;
