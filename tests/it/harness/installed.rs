//! Tools of others that tests install from npm or PyPI. Where that cannot be done, the test says so
//! and checks nothing.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A folder where what was installed stays until the build is cleaned.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdks").join(name);
    std::fs::create_dir_all(&folder).expect("made");
    folder
}

/// Whether an installation succeeded, now or before.
pub fn installed(folder: &Path, command: &mut Command) -> bool {
    let done = folder.join("installed");
    if done.exists() {
        return true;
    }
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let well = ended.is_ok_and(|status| status.success());
    if well {
        std::fs::write(done, "").expect("written");
    } else {
        writeln!(std::io::stderr(), "{command:?} failed: nothing was checked with it")
            .expect("written");
    }
    well
}

/// The folder that a package and what it needs were installed into, if that could be done.
pub fn from_pypi(name: &str, package: &str) -> Option<PathBuf> {
    let folder = folder(name);
    let mut install = Command::new("python3");
    install.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"]);
    install.args(["--retries", "0", "--timeout", "20", "--target"]);
    installed(&folder, install.arg(&folder).arg(package)).then_some(folder)
}
