//! Safe binding to the C library PocketSphinx (Debian 12's 5prealpha): decoder, searches,
//! utterances.
//!
//! The only file of this crate with `unsafe`. It refuses to load a model that is not installed and
//! to pass text with a NUL byte; it knows nothing about phrase books or languages.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Once;

/// Sample rate of the installed acoustic model, in hertz.
pub const MODEL_RATE_HZ: u32 = 16_000;
/// Length of one analysis frame step, in samples at [`MODEL_RATE_HZ`] (the library's `-frate 100`).
pub const FRAME_SAMPLES: usize = 160;
/// Where Debian's package pocketsphinx-en-us puts its models.
pub const MODEL_FOLDER: &str = "/usr/share/pocketsphinx/model/en-us";
/// What to do when the model is missing.
pub const MODEL_REMEDY: &str = "apt-get install -y libpocketsphinx-dev pocketsphinx-en-us";

/// Wide beams: French through an English model scores low everywhere, and the default beams lose
/// half of it.
const GRAMMAR_OPTIONS: [&str; 8] = [
    "-beam", "1e-80", "-wbeam", "1e-60", "-pbeam", "1e-80", "-lw", "3",
];
/// Single phones without context: the loop with context costs ten times as much and separates no
/// better.
const PHONE_LOOP_OPTIONS: [&str; 8] = [
    "-allphone_ci",
    "yes",
    "-lw",
    "2.0",
    "-beam",
    "1e-20",
    "-pbeam",
    "1e-20",
];

/// Why a decoder could not be made or used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecoderError {
    /// A model file is not installed: fatal to the process, the text names the remedy.
    ModelMissing(String),
    /// The library refused; the text names the call and its subject.
    Refused(String),
}

impl fmt::Display for DecoderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ModelMissing(path) => {
                write!(f, "speech model {path} is missing; remedy: {MODEL_REMEDY}")
            }
            Self::Refused(what) => write!(f, "PocketSphinx refused: {what}"),
        }
    }
}

impl std::error::Error for DecoderError {}

/// What one decoder listens for.
#[derive(Clone, Copy, Debug)]
pub enum Search<'a> {
    /// A closed grammar in JSGF, with the pronunciation of each of its words as `(word, phones)`.
    Grammar {
        jsgf: &'a str,
        words: &'a [(String, String)],
    },
    /// Any sequence of phones.
    Phones,
}

/// The best guess, with its path score (higher is likelier).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hypothesis {
    /// Words separated by single spaces, as named in the dictionary.
    pub text: String,
    /// Logarithmic path score over the whole utterance; comparable between searches on the same
    /// audio.
    pub score: i32,
}

/// One word of the best guess with where it lies, in frames of [`FRAME_SAMPLES`] from the
/// utterance's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The word as named in the dictionary, fillers included (`<sil>`).
    pub word: String,
    /// First frame, inclusive.
    pub first_frame: u32,
    /// Last frame, inclusive.
    pub last_frame: u32,
}

/// One decoder with one search; about 10 MB, made in tens to hundreds of milliseconds.
///
/// An utterance is one `decode`, after which its `hypothesis` and `segments` may be asked.
#[derive(Debug)]
pub struct Decoder {
    /// Owned by this value alone; freed once, in `drop`.
    raw: NonNull<PsDecoder>,
}

// SAFETY: a decoder holds no thread-local state; all its memory is reached through `raw`, which
// this value owns alone, and every call takes `&mut self` or `&self` of a type that is not `Sync`.
unsafe impl Send for Decoder {}

impl Decoder {
    /// Loads the English acoustic model and prepares `search`.
    ///
    /// # Errors
    /// [`DecoderError::ModelMissing`] with the remedy, or [`DecoderError::Refused`].
    pub fn new(search: Search<'_>) -> Result<Self, DecoderError> {
        silence_library_log();
        let mut arguments = vec!["-hmm".to_owned(), model_path("en-us")?];
        match search {
            Search::Phones => {
                arguments.extend(["-allphone".to_owned(), model_path("en-us-phone.lm.bin")?]);
                arguments.extend(PHONE_LOOP_OPTIONS.map(str::to_owned));
            }
            Search::Grammar { .. } => arguments.extend(GRAMMAR_OPTIONS.map(str::to_owned)),
        }
        let mut decoder = Self::open(&arguments)?;
        if let Search::Grammar { jsgf, words } = search {
            decoder.add_words(words)?;
            decoder.use_grammar(jsgf)?;
        }
        Ok(decoder)
    }

    /// Decodes one whole utterance at [`MODEL_RATE_HZ`]; `hypothesis` then tells what it was.
    ///
    /// The answer depends on these samples alone, not on what was decoded before: each utterance is
    /// a stream of its own, so the library forgets the noise it had learnt, and it normalises over
    /// the utterance when it is given whole.
    ///
    /// # Errors
    /// [`DecoderError::Refused`] when the library fails; the decoder should then be dropped.
    pub fn decode(&mut self, samples: &[i16]) -> Result<(), DecoderError> {
        const SEARCH_AT_ONCE: c_int = 0;
        const WHOLE_UTTERANCE: c_int = 1;
        // SAFETY: `raw` is a live decoder (type invariant) with no utterance in progress: only this
        // function starts one, and it ends it. The pointer and length are of one live slice, which
        // the library only reads during the call.
        let statuses = unsafe {
            let decoder = self.raw.as_ptr();
            let (audio, count) = (samples.as_ptr(), samples.len());
            [
                ps_start_stream(decoder),
                ps_start_utt(decoder),
                ps_process_raw(decoder, audio, count, SEARCH_AT_ONCE, WHOLE_UTTERANCE),
                ps_end_utt(decoder),
            ]
        };
        statuses
            .into_iter()
            .try_for_each(|status| accepted(status, "an utterance"))
    }

    /// The best guess, or `None` where nothing fits (a grammar's result must be complete).
    pub fn hypothesis(&mut self) -> Option<Hypothesis> {
        let mut score = 0;
        // SAFETY: `raw` is live; `score` outlives the call. The text belongs to the decoder and
        // stays valid until its next call, and is copied before that.
        unsafe {
            let text = ps_get_hyp(self.raw.as_ptr(), &raw mut score);
            (!text.is_null()).then(|| Hypothesis {
                text: owned_text(text),
                score,
            })
        }
    }

    /// The words of the best guess with their frames, at most `segments_max` of them.
    pub fn segments(&mut self, segments_max: usize) -> Vec<Segment> {
        let mut segments = Vec::new();
        // SAFETY: `raw` is live. The iterator is either advanced, which frees it at its end, or
        // freed once when we stop early; the word belongs to the decoder and is copied at once.
        unsafe {
            let mut at = ps_seg_iter(self.raw.as_ptr());
            while !at.is_null() {
                if segments.len() == segments_max {
                    ps_seg_free(at);
                    break;
                }
                let (mut first, mut last) = (0, 0);
                ps_seg_frames(at, &raw mut first, &raw mut last);
                segments.push(Segment {
                    word: owned_text(ps_seg_word(at)),
                    first_frame: u32::try_from(first).unwrap_or(0),
                    last_frame: u32::try_from(last).unwrap_or(0),
                });
                at = ps_seg_next(at);
            }
        }
        segments
    }

    fn open(arguments: &[String]) -> Result<Self, DecoderError> {
        let owned = arguments
            .iter()
            .map(|text| c_text(text))
            .collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<*mut c_char> =
            owned.iter().map(|text| text.as_ptr().cast_mut()).collect();
        let count = c_int::try_from(pointers.len())
            .map_err(|_| DecoderError::Refused("too many options".to_owned()))?;
        // SAFETY: `pointers` holds `count` NUL-terminated strings that outlive both calls; the
        // parser copies them and does not write. `ps_args` is a static table. The configuration is
        // reference counted: `ps_init` takes its own reference, ours is given back right after.
        let raw = unsafe {
            let config =
                cmd_ln_parse_r(ptr::null_mut(), ps_args(), count, pointers.as_mut_ptr(), 1);
            if config.is_null() {
                return Err(DecoderError::Refused(format!("options {arguments:?}")));
            }
            let raw = ps_init(config);
            cmd_ln_free_r(config);
            raw
        };
        let raw = NonNull::new(raw)
            .ok_or_else(|| DecoderError::Refused(format!("models {arguments:?}")))?;
        Ok(Self { raw })
    }

    fn add_words(&mut self, words: &[(String, String)]) -> Result<(), DecoderError> {
        for (word, phones) in words {
            let (c_word, c_phones) = (c_text(word)?, c_text(phones)?);
            // SAFETY: `raw` is live; both strings are NUL-terminated, outlive the call, and are
            // copied by the library. No search exists yet, so nothing needs the update (last
            // argument).
            let id =
                unsafe { ps_add_word(self.raw.as_ptr(), c_word.as_ptr(), c_phones.as_ptr(), 0) };
            accepted(id, &format!("pronunciation of \"{word}\": {phones}"))?;
        }
        Ok(())
    }

    fn use_grammar(&mut self, jsgf: &str) -> Result<(), DecoderError> {
        let (name, jsgf) = (c_text("book")?, c_text(jsgf)?);
        // SAFETY: `raw` is live; both strings are NUL-terminated, outlive the calls and are copied.
        let status = unsafe {
            match ps_set_jsgf_string(self.raw.as_ptr(), name.as_ptr(), jsgf.as_ptr()) {
                status if status < 0 => status,
                _ => ps_set_search(self.raw.as_ptr(), name.as_ptr()),
            }
        };
        accepted(status, "the grammar")
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: `raw` is live, owned by this value alone, and not used after this.
        unsafe { ps_free(self.raw.as_ptr()) };
    }
}

/// The library writes to stderr by default; its lines are of use only to its own authors.
fn silence_library_log() {
    static ONCE: Once = Once::new();
    // SAFETY: a null stream is the documented way to switch the log off; `Once` keeps it from
    // racing.
    ONCE.call_once(|| unsafe { err_set_logfp(ptr::null_mut()) });
}

fn model_path(name: &str) -> Result<String, DecoderError> {
    let path = format!("{MODEL_FOLDER}/{name}");
    if Path::new(&path).exists() {
        Ok(path)
    } else {
        Err(DecoderError::ModelMissing(path))
    }
}

fn c_text(text: &str) -> Result<CString, DecoderError> {
    CString::new(text).map_err(|_| DecoderError::Refused("text with a NUL byte".to_owned()))
}

fn accepted(status: c_int, what: &str) -> Result<(), DecoderError> {
    if status < 0 {
        Err(DecoderError::Refused(what.to_owned()))
    } else {
        Ok(())
    }
}

/// Copies a C string.
///
/// # Safety
/// `text` is not null, NUL-terminated, and stays valid during the call.
unsafe fn owned_text(text: *const c_char) -> String {
    // SAFETY: passed on to the caller.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// Opaque `ps_decoder_t`.
#[repr(C)]
struct PsDecoder {
    _opaque: [u8; 0],
}
/// Opaque `cmd_ln_t`.
#[repr(C)]
struct CommandLine {
    _opaque: [u8; 0],
}
/// Opaque `ps_seg_t`.
#[repr(C)]
struct PsSegment {
    _opaque: [u8; 0],
}

// From pocketsphinx.h, ps_search.h, sphinxbase/cmd_ln.h and sphinxbase/err.h of Debian 12.
unsafe extern "C" {
    fn cmd_ln_parse_r(
        inout: *mut CommandLine,
        definitions: *const c_void,
        argc: c_int,
        argv: *mut *mut c_char,
        strict: c_int,
    ) -> *mut CommandLine;
    fn cmd_ln_free_r(config: *mut CommandLine) -> c_int;
    fn err_set_logfp(stream: *mut c_void);
    fn ps_add_word(
        decoder: *mut PsDecoder,
        word: *const c_char,
        phones: *const c_char,
        update: c_int,
    ) -> c_int;
    fn ps_args() -> *const c_void;
    fn ps_end_utt(decoder: *mut PsDecoder) -> c_int;
    fn ps_free(decoder: *mut PsDecoder) -> c_int;
    fn ps_get_hyp(decoder: *mut PsDecoder, score: *mut i32) -> *const c_char;
    fn ps_init(config: *mut CommandLine) -> *mut PsDecoder;
    fn ps_process_raw(
        decoder: *mut PsDecoder,
        samples: *const i16,
        samples_count: usize,
        no_search: c_int,
        full_utterance: c_int,
    ) -> c_int;
    fn ps_seg_frames(segment: *mut PsSegment, first: *mut c_int, last: *mut c_int);
    fn ps_seg_free(segment: *mut PsSegment);
    fn ps_seg_iter(decoder: *mut PsDecoder) -> *mut PsSegment;
    fn ps_seg_next(segment: *mut PsSegment) -> *mut PsSegment;
    fn ps_seg_word(segment: *mut PsSegment) -> *const c_char;
    fn ps_set_jsgf_string(
        decoder: *mut PsDecoder,
        name: *const c_char,
        jsgf: *const c_char,
    ) -> c_int;
    fn ps_set_search(decoder: *mut PsDecoder, name: *const c_char) -> c_int;
    fn ps_start_stream(decoder: *mut PsDecoder) -> c_int;
    fn ps_start_utt(decoder: *mut PsDecoder) -> c_int;
}
