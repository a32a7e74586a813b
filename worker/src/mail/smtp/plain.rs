//! Answers of a relay in the one form that lettre reads.
//!
//! Only the three digits of an answer and the enhanced code after them are for programs; the text is
//! for people, in any encoding (RFC 5321, 4.2). lettre takes an answer that is not UTF-8, or that
//! has no space after its digits, for a broken connection.

/// Rewrites answers as they come, in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// Bytes of the present line so far, as far as they matter.
    column: u8,
    after_return: bool,
}

impl Plain {
    /// Appends the bytes in their plain form: ASCII, lines that end in CRLF, and a space after
    /// digits that stand alone.
    pub(super) fn rewrite(&mut self, bytes: &[u8], plain: &mut Vec<u8>) {
        for byte in bytes.iter().copied() {
            let ends = byte == b'\n' || byte == b'\r';
            if ends && self.column == 3 && !self.after_return {
                plain.push(b' ');
            }
            match byte {
                b'\n' => {
                    if !self.after_return {
                        plain.push(b'\r');
                    }
                    plain.push(b'\n');
                    self.column = 0;
                }
                b'\r' => {
                    plain.push(b'\r');
                    self.column = self.column.saturating_add(1).max(4);
                }
                byte => {
                    plain.push(if byte.is_ascii() { byte } else { b'?' });
                    self.column = self.column.saturating_add(1);
                }
            }
            self.after_return = byte == b'\r';
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(pieces: &[&[u8]]) -> String {
        let (mut rewriting, mut plain) = (Plain::default(), Vec::new());
        pieces.iter().for_each(|piece| rewriting.rewrite(piece, &mut plain));
        String::from_utf8(plain).expect("ASCII")
    }

    #[test]
    fn what_is_for_programs_stays() {
        for (said, read) in [
            (&b"250 2.0.0 OK\r\n"[..], "250 2.0.0 OK\r\n"),
            (b"250 2.0.0 acept\xe9\r\n", "250 2.0.0 acept?\r\n"),
            (b"250\r\n", "250 \r\n"),
            (b"250\n", "250 \r\n"),
            (b"250-one\n250 two\n", "250-one\r\n250 two\r\n"),
            (b"250-\r\n250\r\n", "250-\r\n250 \r\n"),
            (b"\xff\xfe\r\n", "??\r\n"),
        ] {
            assert_eq!(plain(&[said]), read);
            let bytes: Vec<&[u8]> = said.chunks(1).collect();
            assert_eq!(plain(&bytes), read, "byte by byte");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes: Vec<u8>, at: prop::sample::Index) {
            let (first, second) = bytes.split_at(at.index(bytes.len() + 1));
            prop_assert_eq!(plain(&[first, second]), plain(&[&bytes]));
        }
    }
}
