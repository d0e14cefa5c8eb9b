//! Helpers of tests and benches, behind the feature `testing`: a bad network, tones, a meter.
