//! A file of variables that both systemd (`EnvironmentFile=`) and shells read: `NAME="value"`, comments
//! and blank lines. Lines that are not changed stay as they are.

/// The lines of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EnvFile {
    lines: Vec<String>,
}

impl EnvFile {
    pub(super) fn parse(text: &str) -> Self {
        Self { lines: text.lines().map(str::to_owned).collect() }
    }

    /// Every variable with its value; of one that is set twice the last counts, which comes last.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, String)> {
        self.lines.iter().filter_map(|line| assignment(line))
    }

    /// Sets a variable in the place where it is set already, or at the end.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        let line = format!("{name}={}", quoted(value));
        let place = self.place(name);
        match place.and_then(|place| self.lines.get_mut(place)) {
            Some(there) => *there = line,
            None => self.lines.push(line),
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.lines.retain(|line| assignment(line).is_none_or(|(set, _)| set != name));
    }

    /// The text of the file, with a line break at its end.
    pub(super) fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.lines.iter().rposition(|line| assignment(line).is_some_and(|(set, _)| set == name))
    }
}

/// Name and value, unless the line is blank, a comment or nothing that is known.
fn assignment(line: &str) -> Option<(&str, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(is_name)).then(|| (name, unquoted(value.trim())))
}

/// The value without its quotation marks and the backslashes that they need.
fn unquoted(text: &str) -> String {
    if let Some(inner) = between(text, '\'') {
        return inner.to_owned();
    }
    let Some(inner) = between(text, '"') else { return text.to_owned() };
    let mut value = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => value.extend(chars.next()),
            _ => value.push(c),
        }
    }
    value
}

fn between(text: &str, mark: char) -> Option<&str> {
    text.strip_prefix(mark)?.strip_suffix(mark)
}

/// The value as both systemd and a shell take it for itself.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:.,_-+@%=".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut quoted = String::from('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_lines_stay_as_they_are() {
        let text = "# mine\n\nexport A=1\nB='x y'\nMAIL_FROM=\"A \\\"B\\\" <a@b.example>\"\n";
        let mut file = EnvFile::parse(text);
        let variables: Vec<_> = file.variables().collect();
        assert_eq!(variables[0], ("A", "1".to_owned()));
        assert_eq!(variables[1], ("B", "x y".to_owned()));
        assert_eq!(variables[2], ("MAIL_FROM", "A \"B\" <a@b.example>".to_owned()));
        assert_eq!(file.text(), text);
        file.set("B", "y");
        file.set("C", "$HOME");
        file.remove("A");
        assert_eq!(
            file.text(),
            "# mine\n\nB=y\nMAIL_FROM=\"A \\\"B\\\" <a@b.example>\"\nC=\"\\$HOME\"\n"
        );
    }

    proptest! {
        #[test]
        fn what_is_set_is_read(value in "[^\\p{Cc}]{0,40}") {
            let mut file = EnvFile::default();
            file.set("X", &value);
            let read = EnvFile::parse(&file.text());
            prop_assert_eq!(read.variables().next(), Some(("X", value)));
        }

        #[test]
        fn a_shell_reads_the_same(value in "[ -~äß]{0,40}") {
            let mut file = EnvFile::default();
            file.set("X", &value);
            let script = format!("{}printf %s \"$X\"", file.text());
            let output = std::process::Command::new("sh").args(["-c", &script]).output()?;
            prop_assert_eq!(String::from_utf8_lossy(&output.stdout), value);
        }
    }
}
