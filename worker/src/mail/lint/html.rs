//! The HTML of a mail as far as the checks need it: texts with the styles around them, and what is
//! fetched.

use html5gum::{HtmlString, StartTag, Token, Tokenizer};

use super::css::{Declarations, Sheet};

/// Elements without an end tag (<https://html.spec.whatwg.org/#void-elements>).
const VOID: [&str; 13] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track",
    "wbr",
];

/// Attributes whose URL is fetched when a mail is shown.
const FETCHED: [&str; 6] = ["src", "srcset", "background", "poster", "data", "xlink:href"];

/// An element that has begun and not ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Element {
    name: String,
    pub(super) classes: Vec<String>,
    pub(super) style: Declarations,
}

/// A text, and the elements around it from the outermost on.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) words: String,
    pub(super) around: Vec<Element>,
}

/// The HTML of a mail, parsed.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) texts: Vec<Text>,
    pub(super) sheet: Sheet,
    /// All declarations of `style` attributes.
    pub(super) styles: Vec<Declarations>,
    /// What is fetched from the network.
    pub(super) remote: Vec<String>,
    pub(super) lang: Option<String>,
    pub(super) has_color_scheme: bool,
    pub(super) images_have_alt: bool,
}

impl Document {
    pub(super) fn parse(html: &str) -> Self {
        let mut document = Self { images_have_alt: true, ..Self::default() };
        let mut open: Vec<Element> = Vec::new();
        for Ok(token) in Tokenizer::new(html) {
            match token {
                Token::StartTag(tag) => document.start(&tag, &mut open),
                Token::EndTag(tag) => {
                    let name = text(&tag.name);
                    if let Some(at) = open.iter().rposition(|element| element.name == name) {
                        open.truncate(at);
                    }
                }
                Token::String(words) => document.text(&text(&words.value), &open),
                Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
            }
        }
        document
    }

    fn start(&mut self, tag: &StartTag<()>, open: &mut Vec<Element>) {
        let name = text(&tag.name);
        let attribute = |wanted: &str| {
            let found = tag.attributes.iter().find(|(name, _)| text(name) == wanted);
            found.map(|(_, value)| text(&value.value))
        };
        self.note_fetched(&name, &attribute);
        match name.as_str() {
            "html" => self.lang = attribute("lang").filter(|lang| !lang.is_empty()),
            "meta" => {
                self.has_color_scheme |= attribute("name").as_deref() == Some("color-scheme");
            }
            "img" => self.images_have_alt &= attribute("alt").is_some(),
            _ => {}
        }
        let style = Declarations::parse(&attribute("style").unwrap_or_default());
        self.remote.extend(style.remote());
        if !style.is_empty() {
            self.styles.push(style.clone());
        }
        let classes = attribute("class").unwrap_or_default();
        let classes = classes.split_ascii_whitespace().map(str::to_owned).collect();
        if !tag.self_closing && !VOID.contains(&name.as_str()) {
            open.push(Element { name, classes, style });
        }
    }

    fn note_fetched(&mut self, name: &str, attribute: &dyn Fn(&str) -> Option<String>) {
        let is_local = |url: &str| {
            let url = url.trim_start().to_ascii_lowercase();
            url.is_empty() || url.starts_with("cid:") || url.starts_with("data:")
        };
        for fetched in FETCHED {
            if let Some(url) = attribute(fetched).filter(|url| !is_local(url)) {
                self.remote.push(format!("{fetched}={url:?} of <{name}>"));
            }
        }
        if matches!(name, "link" | "script" | "iframe" | "object" | "embed" | "form") {
            self.remote.push(format!("something with <{name}>"));
        }
    }

    fn text(&mut self, words: &str, open: &[Element]) {
        let within = |name: &str| open.iter().any(|element| element.name == name);
        if within("style") {
            let sheet = Sheet::parse(words);
            self.remote.extend(sheet.remote());
            self.sheet.extend(sheet);
        } else if !words.trim().is_empty() && !within("title") && !within("script") {
            self.texts.push(Text { words: words.trim().to_owned(), around: open.to_vec() });
        }
    }
}

fn text(bytes: &HtmlString) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
