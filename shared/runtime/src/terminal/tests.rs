//! Unit tests of the parent module.

use proptest::prelude::*;

use super::*;

const TRICKS: &[(&str, &str)] = &[
    ("plain, äöü, 名前, 🙂", "plain, äöü, 名前, 🙂"),
    ("\u{1b}[2J", "\\u{1b}[2J"),
    ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
    ("\u{9b}31m", "\\u{9b}31m"),
    ("\u{202e}txt.exe\u{202c}", "\\u{202e}txt.exe\\u{202c}"),
    ("one\r\ntwo\ttab\u{7f}", "one\\u{d}\\u{a}two\\u{9}tab\\u{7f}"),
    ("\u{200b}\u{feff}\u{2028}\u{e0041}", "\\u{200b}\\u{feff}\\u{2028}\\u{e0041}"),
];

#[test]
fn what_a_terminal_obeys_is_escaped() {
    for (text, shown) in TRICKS {
        assert_eq!(escape(text), *shown);
    }
    assert_eq!(escape_lines("one\ntwo\r"), "one\ntwo\\u{d}");
}

#[test]
fn text_without_them_is_not_copied() {
    assert!(matches!(escape("queued as 4F00"), Cow::Borrowed(_)));
}

proptest! {
    #[test]
    fn no_text_reaches_a_terminal_with_commands(text in any::<String>()) {
        prop_assert!(!escape(&text).contains(is_hidden));
        prop_assert!(!escape_lines(&text).contains(|c| c != '\n' && is_hidden(c)));
    }

    #[test]
    fn json_means_the_same(text in any::<String>()) {
        let json = serde_json::to_string_pretty(&[&text]).expect("text");
        let shown = escape_json(&json);
        prop_assert!(!shown.contains(|c| c != '\n' && is_hidden(c)));
        prop_assert_eq!(serde_json::from_str::<Vec<String>>(&shown).expect("JSON"), [text]);
    }
}
