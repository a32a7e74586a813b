//! Every text can be read on what it stands on, in light and in dark (WCAG 2.2, 1.4.3).

use std::collections::HashMap;

/// A text's colour and its ground's.
type Pair = (&'static str, &'static str);

/// Each page's style, and which of its colours stand on which.
const STYLES: [(&str, &str, &[Pair]); 3] = [
    ("the login page", include_str!("../../../ingress/src/page/page.css"), OURS),
    ("the demo", include_str!("../../../src/cmd/demo/page.css"), OURS),
    (
        "the stand-in",
        include_str!("../../../sandbox/src/workos/sign_in/page.html"),
        &[("ink", "paper"), ("ink", "card"), ("on-accent", "accent")],
    ),
];

const OURS: &[Pair] = &[
    ("ink", "paper"),
    ("ink", "card"),
    ("quiet", "paper"),
    ("quiet", "card"),
    ("accent", "card"),
    ("on-accent", "accent"),
];

/// What a normal text needs.
const LEAST: f64 = 4.5;

/// The colours of a `:root { … }`.
fn colours(rule: &str) -> HashMap<&str, &str> {
    let declarations = rule.split(['{', '}']).nth(1).expect("a rule").split(';');
    declarations.filter_map(|line| line.trim().strip_prefix("--")?.split_once(": ")).collect()
}

fn luminance(colour: &str) -> f64 {
    let digits = colour.trim().trim_start_matches('#');
    let long: String = if digits.len() == 3 {
        digits.chars().flat_map(|digit| [digit, digit]).collect()
    } else {
        digits.to_owned()
    };
    let part = |at: usize| {
        let value = f64::from(u8::from_str_radix(&long[at..at + 2], 16).expect("a colour")) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
}

fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn can_be_told_from_their_ground() {
    assert!((contrast("#000", "#ffffff") - 21.0).abs() < 0.01);
    for (page, style, pairs) in STYLES {
        for (scheme, rule) in
            style.split(":root").skip(1).zip(["light", "dark"]).map(|(rule, scheme)| (scheme, rule))
        {
            let colours = colours(rule);
            for (text, ground) in pairs {
                let ratio = contrast(colours[text], colours[ground]);
                assert!(ratio >= LEAST, "{page}, {scheme}: {text} on {ground} has {ratio:.2}");
            }
        }
        assert_eq!(style.matches(":root").count(), 2, "{page} has a light and a dark scheme");
    }
}
