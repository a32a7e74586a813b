//! Mails with a sample code: tried at the start, and for people who make templates.

use domain::{
    fault::Fault,
    ids::{ClientId, EventId},
    login_code::{Code, LoginCode},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    Content, Shown, TemplateError, Templates,
    environment::{BUILT_IN, SUBJECT},
    message, minutes_left,
};
use crate::mail::{brand::Brand, languages::Language, lint::Sample};

impl Templates {
    /// Renders every template in every language and brand.
    pub(super) fn render_samples(&self) -> Result<(), TemplateError> {
        let defaults = self.brands.all().filter_map(|brand| brand.locale.as_ref());
        for language in defaults.chain([&self.locale]) {
            if self.languages.lookup(language).is_none() {
                return Err(TemplateError::NoLanguage { language: language.clone() });
            }
        }
        for brand in self.brands.all() {
            for language in self.languages.all() {
                for minutes in [1, 10] {
                    self.render_sample(brand, language, minutes)?;
                }
            }
        }
        Ok(())
    }

    fn render_sample(
        &self,
        brand: &Brand,
        language: &Language,
        minutes: i64,
    ) -> Result<(), TemplateError> {
        let (asked_at, expires_at) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        let shown = Shown { code: "246813", asked_at, expires_at, minutes };
        for (name, _) in BUILT_IN {
            let broken = |why| TemplateError::Broken { file: name.to_owned(), why };
            let values = self.values(shown, brand, language).map_err(broken)?;
            let rendered = self.render(name, values).map_err(broken)?;
            if name != SUBJECT && !rendered.contains(shown.code) {
                return Err(TemplateError::NoCode { file: name.to_owned() });
            }
        }
        Ok(())
    }

    /// A mail with this code in this language, asked for at `now` and good for ten minutes: for people
    /// who make templates.
    pub fn sample(
        &self,
        language: &Language,
        client: Option<&ClientId>,
        code: Code,
        now: Timestamp,
    ) -> Result<Sample, Fault> {
        let (brand, recipient) = (self.brands.of(client), self.sender.address.clone());
        let expires_at = now.saturating_add(SignedDuration::from_mins(10));
        let expires_at = expires_at.unwrap_or(Timestamp::MAX);
        let code = LoginCode { code, recipient, expires_at };
        let (digits, minutes) = (code.code.expose(), minutes_left(now, expires_at));
        let shown = Shown { code: digits, asked_at: now, expires_at, minutes };
        let content = self.content(shown, brand, language)?;
        let event_id = EventId::sample();
        let made_for = Self::made_for(&event_id, brand);
        let mail = message::build(made_for, &self.sender, &code, content.clone(), now)?;
        let Content { subject, text, html } = content;
        let (message, code) = (mail.expose().to_vec(), digits.to_owned());
        Ok(Sample { subject, text, html, code, message, logo: brand.logo.clone() })
    }
}
