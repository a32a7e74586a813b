//! The files of a configuration: what would be written, and writing it.

use std::{
    collections::BTreeMap,
    fs::{DirBuilder, Permissions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    draft::{Draft, in_file},
    env_file::EnvFile,
    topic::SECRETS,
};

const HEADER: &str = "\
# Written by `authpost init`, which changes single lines and keeps the others.
# `authpost serve --help` lists all variables.
";

/// The directories that a configuration is written to.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The directory of the configuration, by its absolute name.
    pub(super) folder: PathBuf,
    /// The directory of systemd's units, if a drop-in is asked for.
    pub(super) units: Option<PathBuf>,
}

impl Place {
    pub(super) fn env_file(&self) -> PathBuf {
        self.folder.join("authpost.env")
    }

    pub(super) fn secrets(&self) -> PathBuf {
        self.folder.join("secrets")
    }

    fn drop_in(&self) -> Option<PathBuf> {
        self.units.as_ref().map(|units| units.join("authpost.service.d/init.conf"))
    }

    /// What is there now; nothing if the file does not exist.
    pub(super) fn read(&self) -> anyhow::Result<EnvFile> {
        let file = self.env_file();
        match std::fs::read_to_string(&file) {
            Ok(text) => Ok(EnvFile::parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(EnvFile::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }
}

/// Files that differ from what is there, in the order in which they are written.
pub(super) struct Plan {
    files: Files,
}

impl Plan {
    /// What must be written for the draft.
    pub(super) fn new(place: &Place, mut env: EnvFile, draft: &Draft) -> Self {
        if env == EnvFile::default() {
            env = EnvFile::parse(HEADER);
        }
        let there: BTreeMap<String, String> =
            env.variables().map(|(name, value)| (name.to_owned(), value)).collect();
        let (wanted, mut files) = wanted(place, &there, draft);
        for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
            env.remove(name);
        }
        for (name, value) in wanted.iter().filter(|(name, value)| there.get(*name) != Some(value)) {
            env.set(name, value);
        }
        if let Some(path) = place.drop_in() {
            files.push((path, SecretString::from(drop_in(place, &env))));
        }
        files.push((place.env_file(), SecretString::from(env.text())));
        files.retain(|(path, text)| {
            std::fs::read_to_string(path).ok().as_deref() != Some(text.expose_secret())
        });
        Self { files }
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// Writes the files. Each is there whole or not at all, and for its owner alone.
    pub(super) fn write(&self, place: &Place) -> anyhow::Result<()> {
        for (path, text) in &self.files {
            let folder = path.parent().context("a file is in a directory")?;
            let mode = if folder == place.secrets() { 0o700 } else { 0o755 };
            let written =
                DirBuilder::new().recursive(true).mode(mode).create(folder).and_then(|()| {
                    let mut file = tempfile::NamedTempFile::new_in(folder)?;
                    file.write_all(text.expose_secret().as_bytes())?;
                    let is_secret =
                        place.units.as_ref().is_none_or(|units| !path.starts_with(units));
                    let mode = if is_secret { 0o600 } else { 0o644 };
                    file.as_file().set_permissions(Permissions::from_mode(mode))?;
                    file.as_file().sync_all()?;
                    file.persist(path).map_err(|error| error.error)
                });
            written.with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// Files, and what is in them.
type Files = Vec<(PathBuf, SecretString)>;

/// The variables of the file, and the files of secrets that are not in it already.
fn wanted(
    place: &Place,
    there: &BTreeMap<String, String>,
    draft: &Draft,
) -> (BTreeMap<String, String>, Files) {
    let (mut variables, mut files) = (BTreeMap::new(), Vec::new());
    for (name, value) in draft.all() {
        let value = value.expose_secret();
        let is_there = there.get(name).is_some_and(|there| there == value);
        match SECRETS.iter().find(|(secret, _)| *secret == name) {
            Some((_, file)) if !is_there => {
                let path = place.secrets().join(file);
                variables.insert(in_file(name), path.display().to_string());
                files.push((path, line(value)));
            }
            _ => {
                variables.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    (variables, files)
}

fn line(text: &str) -> SecretString {
    SecretString::from(format!("{text}\n"))
}

/// Hands the secrets to the service alone: systemd reads the files as root and gives it copies.
fn drop_in(place: &Place, env: &EnvFile) -> String {
    let file_of = |variable| env.variables().filter(|(set, _)| *set == in_file(variable)).last();
    let secrets: Vec<_> = SECRETS
        .into_iter()
        .filter_map(|(variable, name)| Some((variable, name, file_of(variable)?.1)))
        .collect();
    let (mut credentials, mut options) = (String::new(), String::new());
    for (variable, name, file) in &secrets {
        let option = in_file(variable).to_lowercase().replace('_', "-");
        credentials.extend(["LoadCredential=", name, ":", file, "\n"]);
        options.extend([" --", &option, "=%d/", name]);
    }
    format!(
        "# Written by `authpost init --systemd`.\n[Service]\nEnvironmentFile=\nEnvironmentFile={}\n\
         {credentials}ExecStart=\nExecStart=authpost serve{options}\n",
        place.env_file().display()
    )
}
