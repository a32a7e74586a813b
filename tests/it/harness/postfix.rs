//! A real Postfix of our own: its programs unpacked into a folder (`AUTHPOST_POSTFIX`), its
//! configuration, queue and users in another, nothing shared with one that runs on this machine.
//! Its master needs root.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, User},
};
use tokio::net::TcpStream;

use super::{certificates::Certificates, eventually, program::lasting_listener};

/// Ends with its processes when dropped.
pub struct Postfix {
    master: Child,
    folder: tempfile::TempDir,
    pub port: u16,
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.master.id()) {
            // Fails only if all have ended.
            killpg(Pid::from_raw(group), Signal::SIGKILL).unwrap_or_default();
        }
        drop(self.master.wait());
    }
}

/// Who submits mails, with the password `secret`.
pub const LOGIN: &str = "login@relay.test";

const SERVICES: &str = "postlog unix-dgram n - n - 1 postlogd\ncleanup unix n - n - 0 cleanup\n\
    qmgr unix n - n 300 1 qmgr\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
    rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
    defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nproxymap unix - - n - - proxymap\n\
    smtp unix - - n - - smtp\nerror unix - - n - - error\nretry unix - - n - - error\n\
    anvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\n";

fn programs() -> PathBuf {
    let folder = std::env::var_os("AUTHPOST_POSTFIX");
    folder.map(PathBuf::from).expect("AUTHPOST_POSTFIX, which ./scripts/test sets")
}

/// Runs one of its programs with what it needs from our folders.
fn program(path: &str, conf: &Path) -> Command {
    let root = programs();
    let modules = fs::read_dir(root.join("usr/lib")).expect("unpacked").filter_map(Result::ok);
    let modules = modules.map(|entry| entry.path().join("sasl2")).find(|path| path.is_dir());
    let mut command = Command::new(root.join(path));
    command
        .env("LD_LIBRARY_PATH", root.join("usr/lib/postfix"))
        .env("SASL_PATH", modules.expect("libsasl2-modules"))
        .env("MAIL_CONFIG", conf)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

impl Postfix {
    /// Hands every mail it accepts to the server on `next`. `settings` are further lines of
    /// main.cf.
    pub async fn start(next: u16, certificates: &Certificates, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = lasting_listener().await.local_addr().expect("bound").port();
        configure(folder.path(), (port, next), certificates, settings);
        let conf = folder.path().join("conf");
        // Makes the folders of the queue, with their owners.
        let checked = program("usr/sbin/postfix", &conf).arg("-c").arg(&conf).arg("check").status();
        assert!(checked.expect("runs").success(), "postfix check");
        let master = program("usr/lib/postfix/sbin/master", &conf)
            .arg("-c")
            .arg(&conf)
            .arg("-d")
            .process_group(0)
            .spawn()
            .expect("starts");
        let postfix = Self { master, folder, port };
        eventually("Postfix listens", async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
        })
        .await;
        postfix
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("mail.log")).unwrap_or_default()
    }
}

fn configure(folder: &Path, (port, next): (u16, u16), certificates: &Certificates, settings: &str) {
    let (root, home) = (programs().display().to_string(), folder.display());
    let owner = User::from_name("daemon").expect("readable").expect("in every system");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("ours");
    for name in ["conf", "conf/sasl", "queue", "data"] {
        fs::create_dir(folder.join(name)).expect("made");
    }
    let hand_over = |path: &Path| chown(path, Some(owner.uid.as_raw()), None).expect("as root");
    hand_over(&folder.join("data"));
    let main = format!(
        "compatibility_level = 3.6\nconfig_directory = {home}/conf\nmeta_directory = {root}/etc/postfix\n\
         shlib_directory = {root}/usr/lib/postfix\ndaemon_directory = {root}/usr/lib/postfix/sbin\n\
         command_directory = {root}/usr/sbin\nqueue_directory = {home}/queue\ndata_directory = {home}/data\n\
         sendmail_path = {root}/usr/sbin/sendmail\nmail_owner = daemon\nsetgid_group = operator\n\
         default_privs = nobody\nimport_environment = MAIL_CONFIG LD_LIBRARY_PATH SASL_PATH TZ\n\
         export_environment = MAIL_CONFIG LD_LIBRARY_PATH SASL_PATH TZ\ninet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\nmyhostname = relay.test\nmydestination =\nmynetworks = 127.0.0.2/32\n\
         alias_maps =\nalias_database =\nlocal_recipient_maps =\nrelayhost = [127.0.0.1]:{next}\n\
         maillog_file = {home}/mail.log\nmaillog_file_prefixes = {home}\nsmtpd_sasl_auth_enable = yes\n\
         smtpd_sasl_path = smtpd\nsmtpd_tls_cert_file = {home}/server.pem\nsmtpd_tls_key_file = {home}/key.pem\n\
         smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\n\
         smtpd_client_event_limit_exceptions =\n{settings}\n"
    );
    let sasl = format!(
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {home}/sasldb2\nmech_list: PLAIN LOGIN\n"
    );
    for (name, text) in [
        ("conf/main.cf", main),
        ("conf/master.cf", format!("127.0.0.1:{port} inet n - n - - smtpd\n{SERVICES}")),
        ("conf/sasl/smtpd.conf", sasl),
        ("server.pem", certificates.server_pem.clone()),
        ("key.pem", certificates.key_pem.clone()),
        ("password", "secret".to_owned()),
    ] {
        fs::write(folder.join(name), text).expect("written");
    }
    let users = folder.join("sasldb2");
    let made = program("usr/sbin/saslpasswd2", &folder.join("conf"))
        .args(["-p", "-c", "-u", "relay.test", "-f"])
        .arg(&users)
        .arg("login")
        .stdin(fs::File::open(folder.join("password")).expect("readable"))
        .status();
    assert!(made.expect("runs").success(), "saslpasswd2");
    hand_over(&users);
}
