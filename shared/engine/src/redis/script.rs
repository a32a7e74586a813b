//! Scripts, called by their digest. A server that does not know one gets its text with the call, and
//! keeps it: `EVAL` and `EVALSHA` are all the rights that it takes.

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

    /// A call without keys and arguments.
    pub(super) fn call(&self) -> Call<'_> {
        Call { script: self, keys: Vec::new(), arguments: Vec::new() }
    }

    /// A call with its first key.
    pub(super) fn key(&self, key: String) -> Call<'_> {
        let mut call = self.call();
        call.key(key);
        call
    }
}

/// A call of a script.
pub(super) struct Call<'a> {
    script: &'a Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Call<'_> {
    pub(super) fn key(&mut self, key: String) -> &mut Self {
        self.keys.push(key);
        self
    }

    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    /// The call of a script that the server knows.
    pub(super) fn by_digest(&self) -> Cmd {
        self.command("EVALSHA", &self.script.digest)
    }

    /// The call with the script itself.
    pub(super) fn by_text(&self) -> Cmd {
        self.command("EVAL", &self.script.text)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
}
