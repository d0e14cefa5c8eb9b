//! Diglot: a live interpreter for phone calls on Asterisk.
