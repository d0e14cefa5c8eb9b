//! A histogram as an SVG picture: bars over logarithmic time, counts on a logarithmic scale too,
//! since the few packets far out matter most.

use std::fmt::Write;

use crate::load::spread::{Bar, Summary};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 420.0;
/// Room for the title above and the labels below and beside the bars.
const TOP: f64 = 50.0;
const BOTTOM: f64 = 50.0;
const SIDE: f64 = 60.0;
const GAP: f64 = 2.0;
const US_PER_MS: u64 = 1_000;

/// The picture; `title` may hold any characters.
pub fn histogram(title: &str, bars: &[Bar], summary: &Summary) -> String {
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write_histogram(&mut svg, title, bars, summary);
    svg
}

fn write_histogram(
    svg: &mut String,
    title: &str,
    bars: &[Bar],
    summary: &Summary,
) -> std::fmt::Result {
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">"
    )?;
    writeln!(
        svg,
        "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>"
    )?;
    writeln!(
        svg,
        "<text x=\"{SIDE}\" y=\"20\" font-size=\"15\">{}</text>",
        escape(title)
    )?;
    writeln!(
        svg,
        "<text x=\"{SIDE}\" y=\"38\">{} packets; p50 {}, p99 {}, p99.9 {}, p99.99 {}, max {} µs\
         </text>",
        summary.count,
        summary.p50_us,
        summary.p99_us,
        summary.p99_9_us,
        summary.p99_99_us,
        summary.max_us
    )?;
    write_bars(svg, bars)?;
    let ground = HEIGHT - BOTTOM;
    writeln!(
        svg,
        "<line x1=\"{SIDE}\" y1=\"{ground}\" x2=\"{}\" y2=\"{ground}\" stroke=\"black\"/>",
        WIDTH - SIDE
    )?;
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">µs, each bar twice as wide as the one \
         before; height: logarithm of the count</text>",
        WIDTH / 2.0,
        HEIGHT - 12.0
    )?;
    writeln!(svg, "</svg>")
}

fn write_bars(svg: &mut String, bars: &[Bar]) -> std::fmt::Result {
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0);
    let step = (WIDTH - 2.0 * SIDE) / bars.len().max(1) as f64;
    let ground = HEIGHT - BOTTOM;
    for (index, bar) in bars.iter().enumerate() {
        let x = SIDE + step * index as f64;
        let height = (ground - TOP) * share(bar.count, most);
        writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" \
             fill=\"steelblue\"><title>{} below {} µs</title></rect>",
            x,
            ground - height,
            (step - GAP).max(1.0),
            bar.count,
            bar.below_us
        )?;
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\">{}</text>",
            x + step,
            ground + 16.0,
            label(bar.below_us)
        )?;
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"9\">{}</text>",
            x + step / 2.0,
            ground - height - 4.0,
            bar.count
        )?;
    }
    Ok(())
}

/// Height of a bar, in 0 ..= 1, so that one packet is still seen.
fn share(count: u64, most: u64) -> f64 {
    let scale = |count: u64| (count as f64 + 1.0).ln();
    if most == 0 {
        0.0
    } else {
        scale(count) / scale(most)
    }
}

fn label(below_us: u64) -> String {
    if below_us < US_PER_MS {
        below_us.to_string()
    } else {
        format!("{} ms", below_us / US_PER_MS)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the picture is well-formed XML with one bar per count. Method: every tag that opens
    /// closes in order, with a title that would break it.
    #[test]
    fn the_picture_is_well_formed() {
        let bars = [1, 2, 4, 8].map(|below_us| Bar {
            below_us,
            count: below_us * 100,
        });
        let svg = histogram("a < b & c", &bars, &Summary::default());
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').expect("a tag ends");
            let name: String = tag
                .chars()
                .take_while(|c| c.is_ascii_alphabetic())
                .collect();
            if let Some(closed) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(closed));
            } else if !tag.ends_with('/') {
                open.push(name);
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        }
        assert!(open.is_empty());
        assert!(svg.contains("a &lt; b &amp; c"));
        assert_eq!(svg.matches("steelblue").count(), bars.len());
        assert!(!svg.contains("NaN"));
        assert!(!histogram("", &[], &Summary::default()).contains("NaN"));
    }
}
