//! Which language somebody gets, and that no language lacks anything.

use super::*;

fn languages() -> Languages {
    Languages::load(None).expect("our own")
}

#[test]
fn everybody_gets_a_language_they_read() {
    let languages = languages();
    for (wanted, found) in [
        ("de-AT", Some("de")),
        ("en-GB", Some("en")),
        ("pt", Some("pt-BR")),
        ("pt-PT", Some("pt-BR")),
        ("es-419", Some("es")),
        ("fr-CA", Some("fr")),
        ("zh", Some("zh-Hans")),
        ("zh-CN", Some("zh-Hans")),
        ("zh-SG", Some("zh-Hans")),
        ("zh-TW", None),
        ("zh-HK", None),
        ("zh-Hant", None),
        ("ar-EG", Some("ar")),
        ("uk-UA", Some("uk")),
        ("uk-Latn", None),
        ("no", None),
        ("nb", None),
        ("sr", None),
        ("xx", None),
    ] {
        let tag = LanguageTag::parse(wanted).expect("a tag");
        assert_eq!(languages.lookup(&tag).map(Language::tag).as_deref(), found, "{wanted}");
    }
}

#[test]
fn own_words_take_the_place_of_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let locales = folder.path().join(FOLDER);
    std::fs::create_dir(&locales).expect("created");
    let nb = include_str!("../../../locales/sv.ftl");
    std::fs::write(locales.join("nb.ftl"), nb).expect("written");
    std::fs::write(locales.join("de.ftl"), "help = Fragen?\nextra = Hallo { $who }\n")
        .expect("written");
    let languages = Languages::load(Some(folder.path())).expect("valid");
    let nb = languages.lookup(&LanguageTag::parse("no").expect("a tag")).expect("found");
    assert_eq!(nb.tag(), "nb");
    let german = languages.get("de").expect("German");
    assert_eq!(german.say("help", &FluentArgs::new()).as_deref(), Ok("Fragen?"));
    assert_eq!(german.say("language", &FluentArgs::new()).as_deref(), Ok("Deutsch"));
    let error = german.say("extra", &FluentArgs::new()).expect_err("a variable is missing");
    assert!(error.contains("de.ftl, line 2: "), "{error}");
}

#[test]
fn broken_words_are_named_with_their_line() {
    for (name, words, says) in [
        ("de.ftl", "help = Hilfe?\n\nsubject = { $app\n", "de.ftl, line 3: "),
        ("de.ftl", "help = A\nhelp = B\n", "de.ftl, line "),
        ("nb.ftl", "language = Norsk\n", "nb.ftl lacks subject, code-is, minutes"),
        ("Norsk bokmål.ftl", "", "is not named after a language"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let locales = folder.path().join(FOLDER);
        std::fs::create_dir(&locales).expect("created");
        std::fs::write(locales.join(name), words).expect("written");
        let error = Languages::load(Some(folder.path())).expect_err(words).to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// Each file by itself, so that no language falls back on another's words.
#[test]
fn every_language_has_the_same_messages() {
    let keys = |text: &str| -> Vec<String> {
        let message = |line: &str| line.split_once(" =").map(|(key, _)| key.to_owned());
        let starts = |line: &&str| line.starts_with(|first: char| first.is_ascii_lowercase());
        text.lines().filter(starts).filter_map(message).collect()
    };
    for (tag, words) in BUILT_IN {
        assert_eq!(keys(words), KEYS, "{tag}");
        // SpamAssassin takes a subject that begins with the name of the recipient's company for one
        // of a forger.
        assert!(!words.contains("\nsubject = {"), "{tag}");
    }
}
