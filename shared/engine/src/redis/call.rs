//! Calls of scripts and commands, whose keys are named one by one.
//!
//! Scripts are called by their digest. A server that does not know one gets its text with the call,
//! and keeps it: `EVAL` and `EVALSHA` are all the rights that it takes. In a cluster, the first part
//! of each key, which is the same for all of ours, becomes its hash tag: so all are in one slot.

use redis::{Arg, Cmd, RedisWrite as _, ToRedisArgs};

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

    /// A call with these keys and arguments.
    pub(super) fn with(&self, words: Words) -> Call<'_> {
        Call { of: Callee::Script(self), words }
    }

    /// A call with its first key.
    pub(super) fn key(&self, key: impl Key) -> Call<'_> {
        let mut call = self.with(Words::with_room(5, 16));
        call.key(key);
        call
    }
}

/// A key, in the parts that it is made of.
pub(super) trait Key {
    fn append_to(self, text: &mut String);
}

impl<const PARTS: usize> Key for [&str; PARTS] {
    fn append_to(self, text: &mut String) {
        text.extend(self);
    }
}

/// The keys and the arguments of a call, each in one buffer: a call can have hundreds.
pub(super) struct Words {
    keys: String,
    key_ends: Vec<usize>,
    arguments: Cmd,
}

impl Words {
    /// Has room for so many keys and arguments of the usual length.
    pub(super) fn with_room(keys: usize, arguments: usize) -> Self {
        Self {
            keys: String::with_capacity(48 * keys),
            key_ends: Vec::with_capacity(keys),
            arguments: Cmd::with_capacity(arguments, 16 * arguments),
        }
    }

    pub(super) fn key(&mut self, key: impl Key) -> &mut Self {
        key.append_to(&mut self.keys);
        self.key_ends.push(self.keys.len());
        self
    }

    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.arguments.arg(argument);
        self
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        let begins = std::iter::once(0).chain(self.key_ends.iter().copied());
        begins.zip(&self.key_ends).map(|(begin, end)| &self.keys[begin..*end])
    }

    fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        self.arguments.args_iter().filter_map(|argument| match argument {
            Arg::Simple(bytes) => Some(bytes),
            // Of SCAN and its like, which are no calls of ours.
            _ => None,
        })
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
    words: Words,
}

enum Callee<'a> {
    Script(&'a Script),
    Command(&'static str),
}

impl Call<'_> {
    /// A call of a command whose first argument is this key.
    pub(super) fn command(name: &'static str, key: impl Key) -> Call<'static> {
        let mut call = Call { of: Callee::Command(name), words: Words::with_room(1, 3) };
        call.key(key);
        call
    }

    /// What is sent with it.
    pub(super) fn words(&mut self) -> &mut Words {
        &mut self.words
    }

    pub(super) fn key(&mut self, key: impl Key) -> &mut Self {
        self.words.key(key);
        self
    }

    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.words.arg(argument);
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
        let Words { keys: text, key_ends, .. } = &self.words;
        let (mut words, mut bytes) = (key_ends.len() + 3, text.len() + script.len() + 16);
        for argument in self.words.arguments() {
            (words, bytes) = (words + 1, bytes + argument.len());
        }
        let mut command = Cmd::with_capacity(words, bytes);
        command.arg(name).arg(script).arg(key_ends.len());
        self.add(&mut command, keys);
        command
    }

    /// Adds the keys and the arguments.
    fn add(&self, command: &mut Cmd, keys: Keys) {
        for key in self.words.keys() {
            match keys {
                Keys::AsTheyAre => command.arg(key),
                Keys::Tagged => command.arg(tagged(key)),
            };
        }
        for argument in self.words.arguments() {
            command.write_arg(argument);
        }
    }
}

/// A key whose first part is its hash tag.
pub(super) fn tagged(key: &str) -> String {
    let (first, rest) = key.split_once(':').unwrap_or((key, ""));
    format!("{{{first}}}:{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Cmd) -> Vec<String> {
        let text = |argument| match argument {
            Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => "a cursor".to_owned(),
        };
        command.args_iter().map(text).collect()
    }

    #[test]
    fn keys_come_before_arguments_in_the_order_of_each() {
        let script = Script::new("return 1");
        let mut call = script.key(["p", ":a"]);
        call.arg(-1).key(["p:b"]).arg("").arg("x:y");
        let [digest, text] = [script.digest.as_str(), "return 1"];
        assert_eq!(
            words(&call.request(Keys::AsTheyAre)),
            ["EVALSHA", digest, "2", "p:a", "p:b", "-1", "", "x:y"]
        );
        let with_text = call.with_text(Keys::Tagged).expect("a script");
        assert_eq!(words(&with_text), ["EVAL", text, "2", "{p}:a", "{p}:b", "-1", "", "x:y"]);
    }

    #[test]
    fn a_command_has_its_key_first() {
        let mut set = Call::command("SET", ["p:", "a"]);
        set.arg(1).arg("PX");
        assert_eq!(words(&set.request(Keys::Tagged)), ["SET", "{p}:a", "1", "PX"]);
        assert!(set.with_text(Keys::Tagged).is_none());
    }
}
