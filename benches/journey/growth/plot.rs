//! A plot of the figures, as SVG: the 99th percentiles of answers and mails beside what is stored.

use std::fmt::Write as _;

use super::Point;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
/// Space that the axes take, in pixels.
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 50.0;
const TOP: f64 = 40.0;
/// Room between two groups of bars.
const GAP: f64 = 14.0;

const COLOURS: [(&str, &str); 2] =
    [("answer, 99th percentile", "#2563eb"), ("mail, 99th percentile", "#f59e0b")];

/// One group of bars for each point, of both engines side by side.
pub fn svg(points: &[Point]) -> String {
    let highest = points.iter().map(|point| point.mail.1.max(point.answer.1)).fold(1.0, f64::max);
    let scale = (HEIGHT - BOTTOM - TOP) / highest;
    #[expect(clippy::cast_precision_loss, reason = "a dozen points")]
    let step = (WIDTH - LEFT) / points.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"10\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    for (index, (name, colour)) in COLOURS.iter().enumerate() {
        let x = if index == 0 { LEFT } else { LEFT + 180.0 };
        line(
            &mut svg,
            &format!("<rect x=\"{x}\" y=\"12\" width=\"10\" height=\"10\" fill=\"{colour}\"/>"),
        );
        line(&mut svg, &format!("<text x=\"{}\" y=\"21\">{name}, ms</text>", x + 15.0));
    }
    for part in [0.0, 0.5, 1.0] {
        let y = HEIGHT - BOTTOM - part * highest * scale;
        line(
            &mut svg,
            &format!(
                "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#d1d5db\"/>"
            ),
        );
        let label = part * highest;
        line(
            &mut svg,
            &format!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label:.0} ms</text>",
                LEFT - 6.0,
                y + 3.0
            ),
        );
    }
    let mut x = LEFT + GAP / 2.0;
    for point in points {
        group(&mut svg, point, (x, step - GAP), scale);
        x += step;
    }
    svg.push_str("</svg>\n");
    svg
}

fn group(svg: &mut String, point: &Point, (x, width): (f64, f64), scale: f64) {
    let (foot, half) = (HEIGHT - BOTTOM, width / 2.0);
    for ((value, (_, colour)), x) in
        [point.answer.1, point.mail.1].iter().zip(COLOURS).zip([x, x + half])
    {
        let height = value * scale;
        let y = foot - height;
        line(
            svg,
            &format!(
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>",
                half - 1.0
            ),
        );
    }
    let stored = match (point.records, point.waiting) {
        (records, 0) => format!("{} records", short(records)),
        (_, waiting) => format!("{} waiting", short(waiting)),
    };
    let middle = x + half;
    for (text, y) in [(point.engine, foot + 14.0), (stored.as_str(), foot + 28.0)] {
        line(
            svg,
            &format!(
                "<text x=\"{middle:.1}\" y=\"{y}\" text-anchor=\"middle\" font-size=\"8\">{text}</text>"
            ),
        );
    }
}

fn line(svg: &mut String, element: &str) {
    writeln!(svg, "{element}").expect("a string takes everything");
}

/// A number with k and M.
fn short(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        1000..1_000_000 => format!("{}k", number / 1000),
        _ => format!("{}M", number / 1_000_000),
    }
}
