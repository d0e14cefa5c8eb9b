//! Diglot: a live interpreter for phone calls on Asterisk.
//!
//! ```text
//! gateway     asterisk, call ─▷ tile (rx, tx) ◁─▷ link::gateway::client
//! translator  link::translator::server ─▶ interpreter ─▶ vendor
//! ```
//! Direction of imports: `main → process → {gateway, translator}`,
//! `gateway → {tile, call, asterisk, link, observe}`; `tile → {net, rt}`;
//! `translator → {interpreter, vendor, link}`. `call` and `interpreter` do no I/O.
//! Tiles never import `asterisk`, `link` or `vendor`: they meet in rings that carry
//! `diglot_rt::msg`.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod asterisk;
pub mod call;
pub mod cli;
pub mod config;
pub mod critical;
pub mod gateway;
pub mod interpreter;
pub mod link;
pub mod net;
pub mod observe;
pub mod process;
pub mod realtime;
pub mod sys;
pub mod tile;
pub mod topology;
pub mod translator;
pub mod vendor;
