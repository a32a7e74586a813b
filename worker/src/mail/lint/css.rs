//! The CSS of a mail: declarations of elements, and rules for classes in light and in dark mode.

use super::{Document, Problem};

/// Properties that the mail programs of Google, Apple and Microsoft know, by name or by the
/// beginning of it. Some do nothing in Outlook for Windows, where a mail must be readable without.
const KNOWN: [&str; 29] = [
    "background",
    "border",
    "box-sizing",
    "caption-side",
    "color",
    "color-scheme",
    "direction",
    "display",
    "font",
    "height",
    "letter-spacing",
    "line-height",
    "list-style",
    "margin",
    "max-height",
    "max-width",
    "min-height",
    "min-width",
    "mso-",
    "opacity",
    "overflow",
    "padding",
    "supported-color-schemes",
    "text-",
    "-webkit-text-size-adjust",
    "vertical-align",
    "white-space",
    "width",
    "word-",
];

/// Declarations in their order: property, value, and whether it is important.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Declarations(Vec<(String, String, bool)>);

impl Declarations {
    pub(super) fn parse(text: &str) -> Self {
        let one = |declaration: &str| {
            let (property, value) = declaration.split_once(':')?;
            let value = value.trim().to_ascii_lowercase();
            let (value, important) = match value.strip_suffix("!important") {
                Some(value) => (value.trim_end().to_owned(), true),
                None => (value, false),
            };
            Some((property.trim().to_ascii_lowercase(), value, important))
        };
        Self(text.split(';').filter_map(one).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a property, and whether it is important. The last one counts.
    pub(super) fn get(&self, property: &str) -> Option<(&str, bool)> {
        let found = self.0.iter().rev().find(|(name, ..)| name == property);
        found.map(|(_, value, important)| (value.as_str(), *important))
    }

    /// What it fetches from the network.
    pub(super) fn remote(&self) -> Vec<String> {
        let fetches = |(_, value, _): &&(String, String, bool)| {
            value.contains("url(") && !value.contains("url(data:") && !value.contains("url(cid:")
        };
        self.0.iter().filter(fetches).map(|(name, value, _)| format!("{name}: {value}")).collect()
    }
}

/// The rules of a `<style>` element.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    /// Selector and declarations, for light and dark mode.
    always: Vec<(String, Declarations)>,
    /// The same for dark mode alone.
    dark: Vec<(String, Declarations)>,
    imports: bool,
}

impl Sheet {
    pub(super) fn parse(css: &str) -> Self {
        let mut sheet = Self { imports: css.contains("@import"), ..Self::default() };
        let mut rest = css;
        while let Some((head, body, after)) = block(rest) {
            let head = head.trim();
            if head.starts_with("@media") {
                if head.contains("prefers-color-scheme: dark") {
                    sheet.dark.extend(rules(body));
                }
            } else if !head.starts_with('@') {
                sheet.always.push((head.to_owned(), Declarations::parse(body)));
            }
            rest = after;
        }
        sheet
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.always.extend(other.always);
        self.dark.extend(other.dark);
        self.imports |= other.imports;
    }

    /// The value that the rules for these classes give a property.
    pub(super) fn get(
        &self,
        classes: &[String],
        property: &str,
        dark: bool,
    ) -> Option<(&str, bool)> {
        let of = |rules: &'_ [(String, Declarations)]| -> Option<usize> {
            rules.iter().rposition(|(selector, declarations)| {
                applies(selector, classes) && declarations.get(property).is_some()
            })
        };
        let in_dark = if dark { of(&self.dark).map(|at| &self.dark[at]) } else { None };
        let found = in_dark.or_else(|| of(&self.always).map(|at| &self.always[at]));
        found.and_then(|(_, declarations)| declarations.get(property))
    }

    pub(super) fn remote(&self) -> Vec<String> {
        let rules = self.always.iter().chain(&self.dark);
        let import = self.imports.then(|| "a style sheet with @import".to_owned());
        rules.flat_map(|(_, declarations)| declarations.remote()).chain(import).collect()
    }

    fn declarations(&self) -> impl Iterator<Item = &Declarations> {
        self.always.iter().chain(&self.dark).map(|(_, declarations)| declarations)
    }
}

/// The next block with braces: what is before it, in it and after it.
fn block(css: &str) -> Option<(&str, &str, &str)> {
    let open = css.find('{')?;
    let mut depth = 0_usize;
    for (at, c) in css[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&css[..open], &css[open + 1..open + at], &css[open + at + 1..]));
        }
    }
    None
}

fn rules(mut css: &str) -> Vec<(String, Declarations)> {
    let mut rules = Vec::new();
    while let Some((selector, body, after)) = block(css) {
        rules.push((selector.trim().to_owned(), Declarations::parse(body)));
        css = after;
    }
    rules
}

/// Whether a selector is, or lists, one of these classes.
fn applies(selector: &str, classes: &[String]) -> bool {
    let class = |part: &str| part.trim().strip_prefix('.').map(str::to_owned);
    selector.split(',').filter_map(class).any(|class| classes.contains(&class))
}

/// Properties that mail programs may not know.
pub(super) fn problems(document: &Document) -> Vec<Problem> {
    let mut unknown: Vec<&str> = document
        .styles
        .iter()
        .chain(document.sheet.declarations())
        .flat_map(|declarations| declarations.0.iter().map(|(name, ..)| name.as_str()))
        .filter(|name| !KNOWN.iter().any(|known| name.starts_with(known)))
        .collect();
    unknown.sort_unstable();
    unknown.dedup();
    let problem = |name: &str| {
        Problem::warning(format!("not all mail programs know the CSS property `{name}`"))
    };
    unknown.into_iter().map(problem).collect()
}
