//! Calls of scripts and commands, whose keys are named one by one.
//!
//! Scripts are called by their digest. A server that does not know one gets its text with the call,
//! and keeps it: `EVAL` and `EVALSHA` are all the rights that it takes. In a cluster, the first part
//! of each key, which is the same for all of ours, becomes its hash tag: so all are in one slot.

use redis::{Cmd, ToRedisArgs};

/// A script, and its digest by which a server knows it.
pub(super) struct Script {
    text: String,
    digest: String,
}

impl Script {
    pub(super) fn new(text: &str) -> Self {
        // The library has the digest, which is SHA-1.
        let digest = redis::Script::new(text).get_hash().to_owned();
        Self { text: text.to_owned(), digest }
    }

    /// A call without keys and arguments, and with room for so many of them.
    pub(super) fn call(&self, keys: usize, arguments: usize) -> Call<'_> {
        Call {
            of: Callee::Script(self),
            keys: Vec::with_capacity(keys),
            arguments: Vec::with_capacity(arguments),
        }
    }

    /// A call with its first key.
    pub(super) fn key(&self, key: String) -> Call<'_> {
        let mut call = self.call(5, 16);
        call.key(key);
        call
    }
}

/// The form in which keys are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    AsTheyAre,
    /// With a hash tag (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>).
    Tagged,
}

/// A call of a script or a command.
pub(super) struct Call<'a> {
    of: Callee<'a>,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

enum Callee<'a> {
    Script(&'a Script),
    Command(&'static str),
}

impl Call<'_> {
    /// A call of a command whose first argument is this key.
    pub(super) fn command(name: &'static str, key: String) -> Call<'static> {
        Call { of: Callee::Command(name), keys: vec![key], arguments: Vec::new() }
    }

    pub(super) fn key(&mut self, key: String) -> &mut Self {
        self.keys.push(key);
        self
    }

    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    /// The command that is sent.
    pub(super) fn request(&self, keys: Keys) -> Cmd {
        match self.of {
            Callee::Script(script) => self.of_script("EVALSHA", &script.digest, keys),
            Callee::Command(name) => {
                let mut command = redis::cmd(name);
                self.add(&mut command, keys);
                command
            }
        }
    }

    /// The same with the text of the script, for a server that does not know it.
    pub(super) fn with_text(&self, keys: Keys) -> Option<Cmd> {
        match self.of {
            Callee::Script(script) => Some(self.of_script("EVAL", &script.text, keys)),
            Callee::Command(_) => None,
        }
    }

    fn of_script(&self, name: &str, script: &str, keys: Keys) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len());
        self.add(&mut command, keys);
        command
    }

    /// Adds the keys and the arguments.
    fn add(&self, command: &mut Cmd, keys: Keys) {
        match keys {
            Keys::AsTheyAre => command.arg(&self.keys),
            Keys::Tagged => {
                command.arg(self.keys.iter().map(|key| tagged(key)).collect::<Vec<_>>())
            }
        };
        command.arg(&self.arguments);
    }
}

/// A key whose first part is its hash tag.
pub(super) fn tagged(key: &str) -> String {
    let (first, rest) = key.split_once(':').unwrap_or((key, ""));
    format!("{{{first}}}:{rest}")
}
