//! `t("key")` in a template: the words of the mail's language.

use std::sync::Arc;

use fluent_bundle::{FluentArgs, FluentValue};
use minijinja::{Environment, Error, ErrorKind, State, Value, value::Kwargs};

use crate::mail::languages::Languages;

/// The name of the function in templates.
pub(super) const FUNCTION: &str = "t";

/// The number of minutes that the code still works, as a variable.
pub(super) const MINUTES: &str = "minutes";

/// Variables of the templates that words may use. The code is none of them: it stands alone, and
/// nothing is done to it.
const VARIABLES: [&str; 4] = ["app", "asked_at", "expires_at", MINUTES];

/// Makes the words available to the templates.
pub(super) fn add_to(environment: &mut Environment<'_>, languages: Arc<Languages>) {
    environment.add_function(FUNCTION, move |state: &State<'_, '_>, key: &str, more: Kwargs| {
        words(&languages, state, key, &more)
            .map_err(|why| Error::new(ErrorKind::InvalidOperation, why))
    });
}

fn words(
    languages: &Languages,
    state: &State<'_, '_>,
    key: &str,
    more: &Kwargs,
) -> Result<String, String> {
    let mut values = FluentArgs::new();
    for name in VARIABLES {
        values.set(name, value(&state.lookup(name).unwrap_or_default()));
    }
    for name in more.args() {
        values.set(name.to_owned(), value(&more.get(name).map_err(|why| why.to_string())?));
    }
    let tag = state.lookup("lang").unwrap_or_default();
    let language = tag.as_str().and_then(|tag| languages.get(tag));
    language.ok_or("the variable `lang` has been changed")?.say(key, &values)
}

/// Numbers stay numbers: plural forms go by them.
fn value(value: &Value) -> FluentValue<'static> {
    if let Some(text) = value.as_str() {
        return FluentValue::from(text.to_owned());
    }
    match value.as_i64() {
        Some(number) => FluentValue::from(number),
        None => FluentValue::from(value.to_string()),
    }
}
