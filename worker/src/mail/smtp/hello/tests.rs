//! Unit tests of the parent module.

use super::*;

#[test]
fn lines_are_whole_or_nothing() {
    let read = split;
    assert_eq!(read(b"220 hi\r\n"), Some((220, true, "hi".to_owned())));
    assert_eq!(read(b"250-SIZE 1\n"), Some((250, false, "SIZE 1".to_owned())));
    assert_eq!(read(b"250\r\n"), Some((250, true, String::new())));
    for line in [&b"220 hi"[..], b"", b"\r\n", b"22\n", b"+20 hi\n", b"220?hi\n", b"2\xc3\xa40 x\n"]
    {
        assert_eq!(read(line), None, "{line:?}");
    }
}

#[test]
fn extensions_are_found_in_every_spelling() {
    let offers = Extensions(vec![
        "   ".to_owned(),
        "PIPELINING".to_owned(),
        "SIZE 100".to_owned(),
        "AUTH=PLAIN LOGIN".to_owned(),
    ]);
    assert!(offers.has("PIPELINING") && offers.has("SIZE") && !offers.has("STARTTLS"));
    assert!(offers.has_auth("PLAIN") && offers.has_auth("LOGIN") && !offers.has_auth("CRAM-MD5"));
}
