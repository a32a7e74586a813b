//! The three templates, compiled.

use std::path::Path;

use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use super::{error::TemplateError, words};

/// The three templates of the mail with a login code, by file name.
pub(super) const BUILT_IN: [(&str, &str); 3] = [
    (SUBJECT, include_str!("../../../templates/login_code.subject.txt")),
    (TEXT, include_str!("../../../templates/login_code.txt")),
    (HTML, include_str!("../../../templates/login_code.html")),
];
pub(super) const SUBJECT: &str = "login_code.subject.txt";
pub(super) const TEXT: &str = "login_code.txt";
pub(super) const HTML: &str = "login_code.html";

/// Most instructions of a template that one part may take: a mail of ours takes about a hundred,
/// and as many as this are done in a fraction of a second.
const MAX_INSTRUCTIONS: u64 = 500_000;

/// The templates, and whether all of them take their words from the language.
pub(super) fn environment(
    directory: Option<&Path>,
) -> Result<(Environment<'static>, bool), TemplateError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(MAX_INSTRUCTIONS));
    environment.set_auto_escape_callback(|name| {
        let html = Path::new(name)
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("html"));
        if html { AutoEscape::Html } else { AutoEscape::None }
    });
    let mut translated = true;
    for (name, built_in) in BUILT_IN {
        let source = match directory.map(|directory| directory.join(name)) {
            Some(file) if file.exists() => {
                let unreadable =
                    |source| TemplateError::Unreadable { file: file.display().to_string(), source };
                std::fs::read_to_string(&file).map_err(unreadable)?
            }
            _ => built_in.to_owned(),
        };
        let broken = |error: minijinja::Error| TemplateError::Broken {
            file: name.to_owned(),
            why: error.to_string(),
        };
        environment.add_template_owned(name, source).map_err(broken)?;
        let template = environment.get_template(name).map_err(broken)?;
        translated &= template.undeclared_variables(false).contains(words::FUNCTION);
    }
    Ok((environment, translated))
}
