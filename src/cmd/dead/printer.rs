//! Prints dead letters while they are read, so that a long list begins at once.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::queue::dead_letters::DeadLetter;
use jiff::Timestamp;
use runtime::terminal;

use super::{
    super::{print, print_unchanged},
    describe::{describe, full, line},
};

/// The format that letters are printed in.
#[derive(Clone, Copy)]
pub(super) enum Format {
    Line,
    Full,
    Json,
}

/// Prints on standard output, and counts.
pub(super) struct Printer {
    format: Format,
    now: Timestamp,
    printed: AtomicU64,
}

impl Printer {
    pub(super) fn new(format: Format, now: Timestamp) -> Self {
        Self { format, now, printed: AtomicU64::new(0) }
    }

    /// How many letters were printed.
    pub(super) fn printed(&self) -> u64 {
        self.printed.load(Ordering::Relaxed)
    }

    pub(super) fn print(&self, letter: &DeadLetter) {
        let before = self.printed.fetch_add(1, Ordering::Relaxed);
        match self.format {
            Format::Line => print(&line(letter, self.now)),
            Format::Full => print(&full(letter, self.now)),
            Format::Json => {
                let separator = if before == 0 { "[" } else { "," };
                let letter = describe(letter, self.now).to_string();
                print_unchanged(&format!("{separator}{}", terminal::escape_json(&letter)));
            }
        }
    }

    /// Prints what follows the last letter.
    pub(super) fn finish(&self) {
        match (self.format, self.printed()) {
            (Format::Json, 0) => print_unchanged("[]"),
            (Format::Json, _) => print_unchanged("]"),
            (Format::Line | Format::Full, _) => {}
        }
    }
}
