//! What the control thread tells the link thread: which legs there are, who hears whom.

use std::sync::Arc;

use diglot_rt::msg::LegId;

/// What the control thread asks of the link thread.
#[derive(Debug)]
pub enum LinkCommand {
    /// A leg begins.
    AddLeg(Box<LinkLeg>),
    /// Two legs hear each other from now on.
    Pair(LegId, LegId),
    /// A leg ended.
    RemoveLeg(LegId),
    /// The legs no longer hear each other; both wait.
    Unpair(LegId, LegId),
    /// Ends the thread.
    Stop,
}

/// A leg as the link thread needs to know it.
#[derive(Clone, Debug)]
pub struct LinkLeg {
    /// Its name.
    pub leg: LegId,
    /// The index of the tile pair that sends what it hears.
    pub pair: usize,
    /// The extension it dialled.
    pub extension: String,
    /// What it speaks (BCP 47).
    pub language: String,
    /// What its partner is to hear (BCP 47).
    pub target_language: String,
    /// Names the call in logs and traces.
    pub call_id: String,
    /// What it hears while its partner's translator is away.
    pub fallback: Fallback,
    /// What it hears, again and again, while it has no partner; silence if absent.
    pub waiting_prompt: Option<Arc<[i16]>>,
}

/// What a listener hears while the translator is away. Samples are 16 kHz.
#[derive(Clone, Debug)]
pub enum Fallback {
    /// The partner's own voice.
    Original,
    /// A prompt, once for each outage.
    Prompt(Arc<[i16]>),
    /// Comfort silence.
    Silence,
}
