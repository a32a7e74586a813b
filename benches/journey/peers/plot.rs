//! A plot of the scores, as SVG: four panels of horizontal bars, each with a scale of its own.

use std::fmt::Write as _;

use super::Score;

const WIDTH: f64 = 760.0;
const PANEL: (f64, f64) = (370.0, 132.0);
const GAP: f64 = 20.0;
/// Where the bars of a panel begin, and how long the longest is.
const BARS: (f64, f64) = (70.0, 220.0);
const BAR: f64 = 22.0;
const COLOURS: [&str; 3] = ["#2563eb", "#94a3b8", "#94a3b8"];

/// What a panel shows, with its unit.
type Panel = (&'static str, &'static str, fn(&Score) -> f64);

const PANELS: [Panel; 4] = [
    ("Webhooks accepted a second", "", |score| score.accepted),
    ("Mails a second", "", |score| score.mailed),
    ("CPU time an event, less is better", " \u{b5}s", |score| score.cpu),
    ("Memory of both roles, less is better", " MiB", |score| score.memory),
];

pub fn svg(scores: &[Score]) -> String {
    let height = 2.0 * PANEL.1 + 3.0 * GAP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (index, panel) in PANELS.iter().enumerate() {
        let (column, row) = (index % 2, index / 2);
        #[expect(clippy::cast_precision_loss, reason = "0 and 1")]
        let (x, y) = (GAP + column as f64 * PANEL.0, GAP + row as f64 * (PANEL.1 + GAP));
        draw(&mut svg, panel, scores, (x, y));
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, (title, unit, value): &Panel, scores: &[Score], (x, y): (f64, f64)) {
    let longest = scores.iter().map(value).fold(1.0, f64::max);
    line(svg, &format!("<text x=\"{x}\" y=\"{:.0}\" font-weight=\"600\">{title}</text>", y + 12.0));
    for ((score, colour), index) in scores.iter().zip(COLOURS).zip(0_u8..) {
        let top = y + 24.0 + f64::from(index) * (BAR + 10.0);
        let (value, middle) = (value(score), top + BAR / 2.0 + 4.0);
        let length = BARS.1 * value / longest;
        line(svg, &format!("<text x=\"{x}\" y=\"{middle:.1}\">{}</text>", score.name));
        line(
            svg,
            &format!(
                "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"3\" \
                 fill=\"{colour}\"/>",
                x + BARS.0
            ),
        );
        line(
            svg,
            &format!(
                "<text x=\"{:.1}\" y=\"{middle:.1}\">{value:.0}{unit}</text>",
                x + BARS.0 + length + 6.0
            ),
        );
    }
}

fn line(svg: &mut String, element: &str) {
    writeln!(svg, "{element}").expect("a string takes everything");
}
