//! A program at a terminal, and somebody who types.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Child, Command},
    sync::Arc,
};

use nix::pty::{Winsize, openpty};
use parking_lot::Mutex;

use super::eventually;

/// A program that runs at a terminal of its own. Killed if a test forgets it.
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    /// How much of the screen was expected already.
    seen: usize,
}

impl Terminal {
    pub fn start(mut command: Command) -> Self {
        let size = Winsize { ws_row: 40, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).expect("a terminal");
        let end = || pair.slave.try_clone().expect("possible");
        command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("starts");
        let keyboard = File::from(pair.master);
        let (mut output, screen) = (keyboard.try_clone().expect("possible"), Arc::default());
        let written: Arc<Mutex<String>> = Arc::clone(&screen);
        // Ends with the program: then nobody has the other side open.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                written.lock().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { child, keyboard, screen, seen: 0 }
    }

    /// Waits until the program has written this after what was expected last.
    pub async fn expect(&mut self, text: &str) {
        let (screen, seen) = (Arc::clone(&self.screen), self.seen);
        let what = format!("the terminal shows {text:?}");
        self.seen = eventually(&what, async || {
            let screen = screen.lock();
            screen[seen..].find(text).map(|at| seen + at + text.len())
        })
        .await;
    }

    /// Types a line, and the key that ends it.
    pub fn enter(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\r").as_bytes()).expect("open");
    }

    /// Presses one key, without the one that ends a line.
    pub fn press(&mut self, key: &str) {
        self.keyboard.write_all(key.as_bytes()).expect("open");
    }

    /// Everything that was shown, and the exit code.
    pub async fn ended(mut self) -> (i32, String) {
        let status =
            eventually("the program ends", async || self.child.try_wait().expect("ours")).await;
        (status.code().expect("no signal"), self.screen.lock().clone())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
