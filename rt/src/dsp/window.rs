//! What filters are made of at set-up or at compile time: a window and a sine.

/// The Kaiser window of shape `beta` at `x` in -1 ..= 1 of half its width, up to a constant factor.
///
/// I₀ by its series in (z/2)², where z² = β²(1 − x²): no root is needed.
pub(super) const fn kaiser(beta: f64, x: f64) -> f64 {
    const TERMS: u32 = 40;
    let quarter = beta * beta * (1.0 - x * x) / 4.0;
    let (mut term, mut sum) = (1.0, 1.0);
    let mut k = 1;
    while k < TERMS {
        term *= quarter / (k as f64 * k as f64);
        sum += term;
        k += 1;
    }
    sum
}

/// sin(π x) by its series, for |x| below a thousand: `core` has no sine.
pub(super) fn sin_pi(x: f64) -> f64 {
    const TERMS: u32 = 12;
    // To the nearest whole number, which only turns the sign: Σ of two roundings to even.
    const NO_FRACTION: f64 = 6_755_399_441_055_744.0;
    let whole = (x + NO_FRACTION) - NO_FRACTION;
    let angle = (x - whole) * core::f64::consts::PI;
    let (mut term, mut sum) = (angle, angle);
    for k in 1..TERMS {
        let n = f64::from(2 * k);
        term *= -angle * angle / (n * (n + 1.0));
        sum += term;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below a thousand")]
    let is_odd = whole as i32 % 2 != 0;
    if is_odd { -sum } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sine_is_one() {
        for n in -20_000..20_000 {
            let x = f64::from(n) / 177.0;
            assert!(
                (sin_pi(x) - (x * core::f64::consts::PI).sin()).abs() < 1e-9,
                "{x}"
            );
        }
    }

    #[test]
    fn the_window_falls_from_the_middle_to_both_ends() {
        // I₀(6) = 67.234, from a table.
        assert!((kaiser(6.0, 0.0) - 67.234).abs() < 0.001);
        assert!((kaiser(6.0, 1.0) - 1.0).abs() < 1e-12);
        assert!((kaiser(6.0, -0.5) - kaiser(6.0, 0.5)).abs() < 1e-12);
    }
}
