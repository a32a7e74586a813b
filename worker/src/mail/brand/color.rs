//! Colours that can be told from their ground (WCAG 2.2, success criterion 1.4.3).

use std::fmt;

/// Least ratio of contrast between text and its ground.
const LEAST_CONTRAST: f64 = 4.5;

/// A colour, as red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color([u8; 3]);

/// What the text of a mail stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    Light,
    Dark,
}

impl Color {
    pub(crate) const BLACK: Self = Self([0; 3]);
    pub(crate) const WHITE: Self = Self([0xff; 3]);
    /// Of text on a light ground.
    pub const TEXT: Self = Self([0x1c, 0x1f, 0x26]);
    /// Of text on a dark ground.
    pub const TEXT_DARK: Self = Self([0xe8, 0xea, 0xee]);

    /// Reads a colour such as `#1f6feb` or `#16e`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        let digit =
            |at: usize| digits.get(at..=at).and_then(|digit| u8::from_str_radix(digit, 16).ok());
        let part = |index: usize| match digits.len() {
            3 => digit(index).map(|value| value * 17),
            6 => Some(digit(2 * index)? * 16 + digit(2 * index + 1)?),
            _ => None,
        };
        Some(Self([part(0)?, part(1)?, part(2)?]))
    }

    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// The ratio of contrast with another colour: 1 to 21.
    pub fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// The same, mixed with as much white as a dark ground needs.
    #[must_use]
    pub fn lightened_for_dark(self) -> Self {
        let mixed = |white: u16| {
            Self(self.0.map(|part| {
                let part = u16::from(part) + (255 - u16::from(part)) * white / 20;
                u8::try_from(part).unwrap_or(u8::MAX)
            }))
        };
        let enough = |color: &Self| color.contrast(Ground::Dark.color_of()) >= LEAST_CONTRAST;
        (0..=20).map(mixed).find(enough).unwrap_or(Self::TEXT_DARK)
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl Ground {
    /// The colour of the ground in the built-in template.
    pub const fn color_of(self) -> Color {
        match self {
            Self::Light => Color([0xff; 3]),
            Self::Dark => Color([0x1f, 0x22, 0x29]),
        }
    }

    /// Reads a colour that can be read on this ground.
    pub fn color(self, text: &str) -> Result<Color, String> {
        let color = Color::parse(text).ok_or_else(|| {
            format!("{text:?} is not a colour: write it as #rrggbb, such as #1f6feb")
        })?;
        let (contrast, ground) = (color.contrast(self.color_of()), self.color_of());
        if contrast < LEAST_CONTRAST {
            return Err(format!(
                "the contrast of {color} on {ground} is {contrast:.2}:1, and text needs \
                 {LEAST_CONTRAST}:1 (WCAG 2.2)"
            ));
        }
        Ok(color)
    }
}
