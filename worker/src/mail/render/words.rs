//! `t("key")` in a template: the words of the mail's language.

use std::{collections::HashMap, sync::Arc};

use fluent_bundle::{FluentArgs, FluentValue};
use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Kwargs, Object, from_args},
};
use parking_lot::Mutex;

use crate::mail::languages::Languages;

/// The name of the function in templates.
pub(super) const FUNCTION: &str = "t";

/// The number of minutes that the code still works, as a variable.
pub(super) const MINUTES: &str = "minutes";

/// The words of one mail. The code is none of the variables that they may use: it stands alone, and
/// nothing is done to it.
#[derive(Debug)]
pub(super) struct Words {
    languages: Arc<Languages>,
    tag: String,
    app: String,
    asked_at: String,
    expires_at: String,
    minutes: i64,
    /// The subject and the parts of a mail use many of the same words.
    said: Mutex<HashMap<String, Value>>,
}

impl Words {
    pub(super) fn new(
        languages: Arc<Languages>,
        tag: String,
        app: String,
        [asked_at, expires_at]: [String; 2],
        minutes: i64,
    ) -> Self {
        Self { languages, tag, app, asked_at, expires_at, minutes, said: Mutex::default() }
    }

    /// The variables that every message may use.
    fn variables(&self) -> FluentArgs<'_> {
        let mut variables = FluentArgs::with_capacity(4);
        variables.set("app", self.app.as_str());
        variables.set("asked_at", self.asked_at.as_str());
        variables.set("expires_at", self.expires_at.as_str());
        variables.set(MINUTES, self.minutes);
        variables
    }

    pub(super) fn say(&self, key: &str) -> Result<String, String> {
        self.say_with(key, &self.variables())
    }

    fn say_with(&self, key: &str, variables: &FluentArgs<'_>) -> Result<String, String> {
        let language = self.languages.get(&self.tag).ok_or("the language is gone")?;
        language.say(key, variables)
    }

    fn answer(&self, key: &str, more: &Kwargs) -> Result<Value, String> {
        let mut names = more.args().peekable();
        if names.peek().is_some() {
            let mut variables = self.variables();
            for name in names {
                let given: Value = more.get(name).map_err(|why| why.to_string())?;
                variables.set(name.to_owned(), value(&given));
            }
            return self.say_with(key, &variables).map(Value::from);
        }
        let mut said = self.said.lock();
        if let Some(words) = said.get(key) {
            return Ok(words.clone());
        }
        let words = Value::from(self.say(key)?);
        said.insert(key.to_owned(), words.clone());
        Ok(words)
    }
}

impl Object for Words {
    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, arguments: &[Value]) -> Result<Value, Error> {
        let (key, more): (&str, Kwargs) = from_args(arguments)?;
        self.answer(key, &more).map_err(|why| Error::new(ErrorKind::InvalidOperation, why))
    }
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
