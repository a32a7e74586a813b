//! The logo: a small PNG that travels within the mail.

use std::path::Path;

/// Largest logo, in bytes: every mail carries it.
const MAX_LOGO: usize = 16 * 1024;

/// Greatest height that a logo is shown at, in CSS pixels.
const MAX_HEIGHT: u32 = 40;

/// Greatest width that a logo is shown at, in CSS pixels.
const MAX_WIDTH: u32 = 240;

/// A PNG image and the size that it is shown at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo {
    pub png: Vec<u8>,
    /// Shown this wide, in CSS pixels.
    pub width: u32,
    /// Shown this high, in CSS pixels.
    pub height: u32,
}

impl Logo {
    /// Reads a file. The error follows the file's name.
    pub fn read(path: &Path) -> Result<Self, String> {
        let size = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
        if size.len() > MAX_LOGO as u64 {
            return Err(format!("has {} bytes, and at most {MAX_LOGO} are allowed", size.len()));
        }
        let png = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
        Self::new(png)
    }

    /// Takes the bytes of a PNG (<https://www.w3.org/TR/png-3/>, 5.2 and 11.2.1).
    fn new(png: Vec<u8>) -> Result<Self, String> {
        let number = |at: usize| {
            png.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
        };
        let is_png = png.starts_with(b"\x89PNG\r\n\x1a\n") && png.get(12..16) == Some(b"IHDR");
        let size = number(16).zip(number(20)).filter(|_| is_png);
        let (width, height) = size.ok_or("is not a PNG image")?;
        if width == 0 || height == 0 || width > 10_000 || height > 10_000 {
            return Err(format!("is {width} by {height} pixels large"));
        }
        let (width, height) = shown(width, height);
        Ok(Self { png, width, height })
    }
}

/// The size that fits, with the same ratio.
fn shown(width: u32, height: u32) -> (u32, u32) {
    let (mut shown_width, mut shown_height) = (width, height);
    if shown_height > MAX_HEIGHT {
        (shown_width, shown_height) = (width * MAX_HEIGHT / height, MAX_HEIGHT);
    }
    if shown_width > MAX_WIDTH {
        (shown_width, shown_height) = (MAX_WIDTH, height * MAX_WIDTH / width);
    }
    (shown_width.max(1), shown_height.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logo_keeps_its_ratio() {
        for (size, fitting) in [
            ((100, 30), (100, 30)),
            ((400, 80), (200, 40)),
            ((2000, 100), (240, 12)),
            ((1, 10_000), (1, 40)),
        ] {
            assert_eq!(shown(size.0, size.1), fitting, "{size:?}");
        }
    }
}
