//! The configuration as far as it is known: variables of `authpost serve`, and what they mean.

use std::collections::BTreeMap;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::{Problems, args::ServeArgs, read_serve, settings::Settings};

/// Accepted values for what is not known yet, so that the rest can be checked.
const UNKNOWN: [(&str, &str); 4] = [
    ("SMTP_URL", "smtps://relay.invalid"),
    ("MAIL_FROM", "login@sender.invalid"),
    ("WORKOS_API_KEY", "sk_unknown"),
    ("WORKOS_WEBHOOK_SECRET", "unknown"),
];

/// The other half of a distributed engine.
const PAIR: [(&str, &str, &str); 2] = [
    ("AMQP_URL", "REDIS_URL", "redis://redis.invalid"),
    ("REDIS_URL", "AMQP_URL", "amqps://rabbitmq.invalid"),
];

#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    serve: ServeArgs,
}

/// Variables by name. A secret has its value or, under its name and `_FILE`, the file of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    variables: BTreeMap<String, SecretString>,
}

impl Draft {
    /// Sets a variable, in place of the file that had its value.
    pub(super) fn set(&mut self, name: &str, value: SecretString) {
        self.variables.remove(&in_file(name));
        self.variables.insert(name.to_owned(), value);
    }

    /// Names the file that has the value of a variable.
    pub(super) fn set_file(&mut self, name: &str, file: &str) {
        self.variables.remove(name);
        self.variables.insert(in_file(name), SecretString::from(file));
    }

    /// Sets a variable by its own name, be it that of a value or of a file.
    pub(super) fn put(&mut self, name: &str, value: SecretString) {
        match name.strip_suffix("_FILE").filter(|secret| is_secret(secret)) {
            Some(secret) => self.set_file(secret, value.expose_secret()),
            None => self.set(name, value),
        }
    }

    /// Every variable, in the order of their names.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.variables.remove(name);
        self.variables.remove(&in_file(name));
    }

    pub(super) fn get(&self, name: &str) -> Option<&SecretString> {
        self.variables.get(name)
    }

    /// Whether there is a value, or a file for it.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.variables.contains_key(name) || self.variables.contains_key(&in_file(name))
    }

    /// The value of a variable, read from its file if it is in one that can be read.
    pub(super) fn value(&self, name: &str) -> Option<SecretString> {
        self.variables.get(name).cloned().or_else(|| {
            let file = self.variables.get(&in_file(name))?.expose_secret();
            let text = std::fs::read_to_string(file).ok()?;
            Some(SecretString::from(text.trim_end().to_owned()))
        })
    }

    /// What the variables mean, with values in the place of what is not known yet.
    pub(super) fn settings(&self) -> Result<Settings, Problems> {
        let mut draft = self.clone();
        for (name, value) in UNKNOWN {
            draft.fill(name, value);
        }
        for (known, other, value) in PAIR {
            if draft.knows(known) {
                draft.fill(other, value);
            }
        }
        read_serve(draft.options())
    }

    fn fill(&mut self, name: &str, value: &str) {
        if !self.knows(name) {
            self.set(name, SecretString::from(value));
        }
    }

    /// The options, without any of this process's own environment.
    fn options(&self) -> ServeArgs {
        let known = Options::command();
        let command = known.clone().mut_args(|option| option.env(None::<&str>));
        let given = known.get_arguments().filter_map(|option| {
            let value = self.variables.get(option.get_env()?.to_str()?)?;
            Some(format!("--{}={}", option.get_long()?, value.expose_secret()))
        });
        let line = std::iter::once("authpost".to_owned()).chain(given);
        let matches = command.get_matches_from(line);
        Options::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).serve
    }
}

/// The name of the variable that names a file.
pub(super) fn in_file(name: &str) -> String {
    format!("{name}_FILE")
}

/// Whether the value of a variable can be in a file.
fn is_secret(name: &str) -> bool {
    is_variable(&in_file(name))
}

/// Whether `authpost serve` has such a variable.
pub(super) fn is_variable(name: &str) -> bool {
    Options::command().get_arguments().any(|option| option.get_env().is_some_and(|env| env == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(variables: &[(&str, &str)]) -> Draft {
        let mut draft = Draft::default();
        for (name, value) in variables {
            draft.set(name, SecretString::from(*value));
        }
        draft
    }

    #[test]
    fn one_variable_is_checked_without_the_others() {
        assert!(draft(&[]).settings().is_ok());
        assert!(draft(&[("AMQP_URL", "amqp://guest:guest@localhost")]).settings().is_ok());
        let problems = draft(&[("MAIL_FROM", "nobody")]).settings().expect_err("no address");
        assert_eq!(problems.of(&["SMTP_URL"]), Vec::<String>::new());
        assert!(problems.of(&["MAIL_FROM"])[0].starts_with("MAIL_FROM is not a sender"));
    }

    #[test]
    fn a_value_takes_the_place_of_its_file_and_the_other_way_round() {
        let mut draft = draft(&[("SMTP_URL", "smtps://a.example")]);
        draft.set_file("SMTP_URL", "/nowhere");
        assert!(draft.get("SMTP_URL").is_none() && draft.knows("SMTP_URL"));
        assert!(draft.settings().is_err(), "a file that is not there");
        draft.set("SMTP_URL", SecretString::from("smtps://b.example"));
        assert!(draft.settings().is_ok());
    }
}
