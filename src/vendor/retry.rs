//! How long to wait before a failed request is made again; pure.
//!
//! A live call cannot wait long: a vendor's own clients back off for seconds, here the whole
//! request has about one and a half.

use std::time::{Duration, Instant};

/// Attempts at one request altogether: the first and two more.
pub const ATTEMPTS_MAX: u32 = 3;

/// Upper end of the wait before the second attempt.
const DELAY_FIRST: Duration = Duration::from_millis(150);

/// Upper end of the wait before any attempt.
const DELAY_MAX: Duration = Duration::from_millis(300);

/// The wait after failed attempt number `attempt` (0 is the first): between two thirds and the
/// whole of 150 ms, then 300 ms, at random, so that calls which failed together do not return
/// together.
pub fn next_delay(attempt: u32, rng: &mut fastrand::Rng) -> Duration {
    let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
    let upper = DELAY_FIRST.saturating_mul(factor).min(DELAY_MAX);
    let spread_us = upper.as_micros() as u64 / 3;
    upper - Duration::from_micros(rng.u64(0..=spread_us))
}

/// The wait before another attempt, or `None` if the attempts or the time are used up.
///
/// A vendor's own wish (`Retry-After`) is honoured by waiting at least as long, or not trying
/// again.
pub fn delay_within(
    attempt: u32,
    wished: Option<Duration>,
    now: Instant,
    deadline: Instant,
    rng: &mut fastrand::Rng,
) -> Option<Duration> {
    if attempt + 1 >= ATTEMPTS_MAX {
        return None;
    }
    let delay = next_delay(attempt, rng).max(wished.unwrap_or_default());
    let time_left = deadline.saturating_duration_since(now);
    (delay < time_left).then_some(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_between_100_and_300_ms_and_differ() {
        let mut rng = fastrand::Rng::with_seed(1);
        for attempt in 0..40 {
            let delays: Vec<_> = (0..100).map(|_| next_delay(attempt, &mut rng)).collect();
            let upper = Duration::from_millis(if attempt == 0 { 150 } else { 300 });
            assert!(
                delays
                    .iter()
                    .all(|delay| *delay <= upper && *delay >= upper * 2 / 3)
            );
            assert!(delays.iter().any(|delay| *delay != delays[0]));
        }
    }

    #[test]
    fn no_attempt_beyond_the_bound_or_the_deadline() {
        let mut rng = fastrand::Rng::with_seed(1);
        let now = Instant::now();
        let far = now + Duration::from_secs(5);
        assert!(delay_within(0, None, now, far, &mut rng).is_some());
        assert!(delay_within(1, None, now, far, &mut rng).is_some());
        assert!(delay_within(2, None, now, far, &mut rng).is_none());
        let near = now + Duration::from_millis(90);
        assert!(delay_within(0, None, now, near, &mut rng).is_none());
    }

    #[test]
    fn vendor_wish_is_honoured_or_given_up() {
        let mut rng = fastrand::Rng::with_seed(1);
        let now = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(
            delay_within(0, Some(second), now, now + 2 * second, &mut rng),
            Some(second)
        );
        assert_eq!(
            delay_within(0, Some(second), now, now + second, &mut rng),
            None
        );
    }
}
