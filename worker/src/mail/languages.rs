//! The words of the mails: one Fluent file for each language, and which language a person gets.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use domain::language::LanguageTag;
use fluent_bundle::{FluentArgs, FluentResource, concurrent::FluentBundle};
use unic_langid::{CharacterDirection, LanguageIdentifier};

/// The languages that are compiled in.
const BUILT_IN: [(&str, &str); 16] = [
    ("ar", include_str!("../../locales/ar.ftl")),
    ("cs", include_str!("../../locales/cs.ftl")),
    ("de", include_str!("../../locales/de.ftl")),
    ("en", include_str!("../../locales/en.ftl")),
    ("es", include_str!("../../locales/es.ftl")),
    ("fr", include_str!("../../locales/fr.ftl")),
    ("it", include_str!("../../locales/it.ftl")),
    ("ja", include_str!("../../locales/ja.ftl")),
    ("ko", include_str!("../../locales/ko.ftl")),
    ("nl", include_str!("../../locales/nl.ftl")),
    ("pl", include_str!("../../locales/pl.ftl")),
    ("pt-BR", include_str!("../../locales/pt-BR.ftl")),
    ("sv", include_str!("../../locales/sv.ftl")),
    ("tr", include_str!("../../locales/tr.ftl")),
    ("uk", include_str!("../../locales/uk.ftl")),
    ("zh-Hans", include_str!("../../locales/zh-Hans.ftl")),
];

/// The messages that the built-in templates need, in every language.
pub const KEYS: [&str; 9] = [
    "language",
    "subject",
    "code-is",
    "minutes",
    "valid-for",
    "preheader",
    "not-asked",
    "never-share",
    "help",
];

/// The folder of an operator's own words, within the one of the templates.
pub const FOLDER: &str = "locales";

/// Words that cannot be used. Names the file and the line.
#[derive(Debug, thiserror::Error)]
pub enum LanguageError {
    /// The folder or a file of it cannot be read.
    #[error("{file} cannot be read: {source}")]
    Unreadable {
        file: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Its name is not the tag of a language.
    #[error("{file} is not named after a language, as de.ftl or pt-BR.ftl are")]
    Name { file: String },
    /// A message of it is broken.
    #[error("{file}, line {line}: {why}")]
    Broken {
        file: String,
        /// Line of the message, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A language of the operator's own lacks messages.
    #[error("{file} lacks {missing}")]
    Missing {
        file: String,
        /// The names of the messages.
        missing: String,
    },
}

/// One language: its words, and how it is written.
pub struct Language {
    tag: LanguageIdentifier,
    /// The tag with its likely script and region.
    likely: LanguageIdentifier,
    words: FluentBundle<FluentResource>,
    /// Where the words come from: the file, and its text.
    sources: Vec<(String, String)>,
}

/// All languages that there are words of, by tag.
pub struct Languages(BTreeMap<String, Language>);

impl fmt::Debug for Languages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Languages {
    /// Loads the built-in languages, and over them the files `locales/*.ftl` of `directory`.
    pub fn load(directory: Option<&Path>) -> Result<Self, LanguageError> {
        let mut languages = Self(BTreeMap::new());
        for (tag, words) in BUILT_IN {
            languages.add(tag, format!("{FOLDER}/{tag}.ftl"), words.to_owned())?;
        }
        for file in own_files(directory)? {
            let shown = file.display().to_string();
            let tag = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let words = std::fs::read_to_string(&file)
                .map_err(|source| LanguageError::Unreadable { file: shown.clone(), source })?;
            languages.add(tag, shown, words)?;
        }
        Ok(languages)
    }

    fn add(&mut self, tag: &str, file: String, words: String) -> Result<(), LanguageError> {
        let tag: LanguageIdentifier =
            tag.parse().map_err(|_| LanguageError::Name { file: file.clone() })?;
        let language =
            self.0.entry(tag.to_string()).or_insert_with(|| Language::without_words(tag));
        language.add(file, words)
    }

    /// The language with exactly this tag.
    pub fn get(&self, tag: &str) -> Option<&Language> {
        self.0.get(tag)
    }

    /// All of them, in the order of their tags.
    pub fn all(&self) -> impl Iterator<Item = &Language> {
        self.0.values()
    }

    /// The language of ours that somebody who asks for `wanted` reads: of the same script, and of
    /// the same region if there are several. Somebody who reads traditional characters does not
    /// get simplified ones.
    pub fn lookup(&self, wanted: &LanguageTag) -> Option<&Language> {
        let mut wanted: LanguageIdentifier = wanted.as_str().parse().ok()?;
        wanted.maximize();
        let found = self.best(&wanted);
        // "Norwegian" without saying which is Bokmål.
        if found.is_none() && wanted.language == "no" {
            wanted.language = "nb".parse().ok()?;
            return self.best(&wanted);
        }
        found
    }

    fn best(&self, wanted: &LanguageIdentifier) -> Option<&Language> {
        self.all()
            .filter(|language| {
                language.likely.language == wanted.language
                    && language.likely.script == wanted.script
            })
            .max_by_key(|language| language.likely.region == wanted.region)
    }
}

fn own_files(directory: Option<&Path>) -> Result<Vec<PathBuf>, LanguageError> {
    let Some(folder) = directory.map(|directory| directory.join(FOLDER)).filter(|it| it.exists())
    else {
        return Ok(Vec::new());
    };
    let unreadable =
        |source| LanguageError::Unreadable { file: folder.display().to_string(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.extension().is_some_and(|extension| extension == "ftl") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

impl Language {
    fn without_words(tag: LanguageIdentifier) -> Self {
        let mut words = FluentBundle::new_concurrent(vec![tag.clone()]);
        // The marks around variables show in plain text, and break what follows a code.
        words.set_use_isolating(false);
        let mut likely = tag.clone();
        likely.maximize();
        Self { tag, likely, words, sources: Vec::new() }
    }

    /// Adds words; those of the same name take the place of those of before.
    fn add(&mut self, file: String, text: String) -> Result<(), LanguageError> {
        let broken = |at: usize, why: String| {
            let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
            LanguageError::Broken { file: file.clone(), line, why }
        };
        let parsed = |text: &str| {
            FluentResource::try_new(text.to_owned()).map_err(|(_, errors)| {
                errors.first().map_or_else(
                    || broken(0, "cannot be read".to_owned()),
                    |error| {
                        // The beginning of the whole message, where there is one.
                        let begins = error.slice.as_ref().map_or(error.pos.start, |it| it.start);
                        broken(begins, error.kind.to_string())
                    },
                )
            })
        };
        let mut alone = FluentBundle::new_concurrent(vec![self.tag.clone()]);
        if let Err(errors) = alone.add_resource(parsed(&text)?) {
            let why = errors.first().map(ToString::to_string).unwrap_or_default();
            return Err(broken(text.len(), why));
        }
        self.words.add_resource_overriding(parsed(&text)?);
        self.sources.push((file.clone(), text));
        let missing: Vec<&str> =
            KEYS.into_iter().filter(|key| !self.words.has_message(key)).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(LanguageError::Missing { file, missing: missing.join(", ") })
        }
    }

    /// Its tag, as in `lang="…"`.
    pub fn tag(&self) -> String {
        self.tag.to_string()
    }

    /// Its own name for itself, such as "Deutsch".
    pub fn name(&self) -> String {
        self.say("language", &FluentArgs::new()).unwrap_or_else(|_| self.tag())
    }

    /// `rtl` if it is written from right to left, otherwise `ltr`.
    pub fn direction(&self) -> &'static str {
        match self.likely.character_direction() {
            CharacterDirection::RTL => "rtl",
            CharacterDirection::LTR | CharacterDirection::TTB => "ltr",
        }
    }

    /// The words of a message. The error names the file and the line.
    pub fn say(&self, key: &str, values: &FluentArgs<'_>) -> Result<String, String> {
        let message = self.words.get_message(key).and_then(|message| message.value());
        let pattern = message
            .ok_or_else(|| format!("there is no message `{key}` in the language {}", self.tag))?;
        let mut errors = Vec::new();
        let words: Cow<'_, str> = self.words.format_pattern(pattern, Some(values), &mut errors);
        match errors.first() {
            None => Ok(words.into_owned()),
            Some(error) => Err(format!("{}: {error}", self.place(key))),
        }
    }

    /// The file and line that a message is in.
    fn place(&self, key: &str) -> String {
        let begins = |line: &str| {
            line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let found = self.sources.iter().rev().find_map(|(file, text)| {
            text.lines().position(begins).map(|line| format!("{file}, line {}", line + 1))
        });
        found.unwrap_or_else(|| format!("the message `{key}`"))
    }
}

#[cfg(test)]
mod tests;
