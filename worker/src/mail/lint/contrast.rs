//! Whether every text can be told from its ground, in light and in dark mode (WCAG 2.2, 1.4.3).

use super::{
    Document, Problem,
    css::Sheet,
    html::{Element, Text},
};
use crate::mail::brand::color::Color;

/// Least ratio of contrast between text and ground.
const LEAST: f64 = 4.5;

pub(super) fn problems(document: &Document) -> Vec<Problem> {
    let mut problems = Vec::new();
    for text in document.texts.iter().filter(|text| !is_hidden(text)) {
        for (dark, mode) in [(false, "light"), (true, "dark")] {
            let color = color_of(text, &document.sheet, dark, &["color"]);
            let ground = color_of(text, &document.sheet, dark, &["background-color", "background"]);
            let (color, ground) = (color.unwrap_or(Color::BLACK), ground.unwrap_or(Color::WHITE));
            let contrast = color.contrast(ground);
            if contrast < LEAST {
                let words: String = text.words.chars().take(30).collect();
                problems.push(Problem::error(format!(
                    "{words:?} in {color} on {ground} has a contrast of {contrast:.2}:1 in {mode} \
                     mode, less than {LEAST}:1"
                )));
            }
        }
    }
    problems
}

/// A line for the list of mails, which the mail itself does not show.
fn is_hidden(text: &Text) -> bool {
    let hides =
        |element: &Element| element.style.get("display").is_some_and(|(value, _)| value == "none");
    text.around.iter().any(hides)
}

/// The colour that the innermost element around a text gives it.
fn color_of(text: &Text, sheet: &Sheet, dark: bool, properties: &[&str]) -> Option<Color> {
    text.around.iter().rev().find_map(|element| {
        properties.iter().find_map(|property| {
            let own = element.style.get(property);
            let rule = sheet.get(&element.classes, property, dark);
            // An important rule goes before a style attribute.
            let value = match (own, rule) {
                (Some((own, own_important)), Some((rule, important))) => {
                    if important && !own_important { rule } else { own }
                }
                (Some((value, _)), None) | (None, Some((value, _))) => value,
                (None, None) => return None,
            };
            value.split_ascii_whitespace().find_map(Color::parse)
        })
    })
}
