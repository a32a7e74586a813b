//! A token that does not fit into one cookie is split across several.
//!
//! The first of several chunks begins with their number and a colon, which no token (JWT) contains.
//! So chunks that an earlier, longer token left behind are not read.

use super::TokenTooLarge;

/// Longest name and value of a cookie together, in bytes. Browsers do not count the attributes
/// (RFC 6265bis, 5.7).
pub(super) const MAX_COOKIE: usize = 4096;

/// Longest token that is kept in cookies, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// Most chunks of a token: five hold [`MAX_TOKEN`] bytes under any of our names.
pub(super) const MOST_CHUNKS: usize = 5;

/// Names the cookie of a chunk, counted from 0.
pub(super) fn chunk_name(name: &str, chunk: usize) -> String {
    if chunk == 0 { name.to_owned() } else { format!("{name}_{chunk}") }
}

/// The names and values of the cookies that hold a token.
pub(super) fn split(name: &str, token: &str) -> Result<Vec<(String, String)>, TokenTooLarge> {
    if token.len() > MAX_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenTooLarge);
    }
    if name.len() + token.len() <= MAX_COOKIE {
        return Ok(vec![(name.to_owned(), token.to_owned())]);
    }
    // The longest name, and the number of chunks before the first one.
    let room = MAX_COOKIE - chunk_name(name, MOST_CHUNKS).len() - "5:".len();
    let count = token.len().div_ceil(room);
    let chunk = |(index, bytes): (usize, &[u8])| {
        let text = String::from_utf8_lossy(bytes);
        let value = if index == 0 { format!("{count}:{text}") } else { text.into_owned() };
        (chunk_name(name, index), value)
    };
    Ok(token.as_bytes().chunks(room).enumerate().map(chunk).collect())
}

/// The token in the cookies of this name. `read` returns the value of one cookie.
pub(super) fn join<'a>(name: &str, read: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let first = read(name)?;
    let Some((count, rest)) = first.split_once(':') else { return Some(first.to_owned()) };
    let count = count.parse().ok().filter(|count| (2..=MOST_CHUNKS).contains(count))?;
    let mut token = rest.to_owned();
    for chunk in 1..count {
        token.push_str(read(&chunk_name(name, chunk))?);
    }
    Some(token).filter(|token| token.len() <= MAX_TOKEN)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "__Secure-authpost_access";

    fn joined(cookies: &[(String, String)]) -> Option<String> {
        let jar: HashMap<_, _> =
            cookies.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        join(NAME, |name| jar.get(name).copied())
    }

    proptest! {
        #[test]
        fn a_token_of_any_length_is_joined_again(length in 0..=MAX_TOKEN) {
            let token: String = ('a'..'x').cycle().take(length).collect();
            let cookies = split(NAME, &token).expect("fits");
            prop_assert!(cookies.iter().all(|(name, value)| name.len() + value.len() <= MAX_COOKIE));
            prop_assert!(cookies.len() <= MOST_CHUNKS);
            prop_assert_eq!(joined(&cookies), Some(token));
        }

        #[test]
        fn whatever_cookies_hold_is_joined_or_refused(values in prop::collection::vec("[0-9:a-c]{0,6}", 0..7)) {
            let cookies: Vec<_> = values
                .into_iter()
                .enumerate()
                .map(|(at, value)| (chunk_name(NAME, at), value))
                .collect();
            let total: usize = cookies.iter().map(|(_, value)| value.len()).sum();
            prop_assert!(joined(&cookies).is_none_or(|token| token.len() <= total));
        }
    }

    #[test]
    fn the_name_and_the_value_count_and_the_whole_has_a_limit() {
        let fits = MAX_COOKIE - NAME.len();
        assert_eq!(split(NAME, &"t".repeat(fits)).map(|cookies| cookies.len()), Ok(1));
        assert_eq!(split(NAME, &"t".repeat(fits + 1)).map(|cookies| cookies.len()), Ok(2));
        assert_eq!(split(NAME, &"t".repeat(MAX_TOKEN + 1)), Err(TokenTooLarge));
        assert_eq!(split(NAME, "a b"), Err(TokenTooLarge));
    }

    #[test]
    fn chunks_of_a_longer_token_are_not_read_and_missing_ones_are_missed() {
        let mut cookies = split(NAME, &"t".repeat(9000)).expect("fits");
        cookies[0].1 = "short".to_owned();
        assert_eq!(joined(&cookies).as_deref(), Some("short"));
        let mut cookies = split(NAME, &"t".repeat(9000)).expect("fits");
        cookies.pop();
        assert_eq!(joined(&cookies), None);
        for first in ["1:a", "6:a", "99999999999999999999:a", ":a", "-2:a"] {
            assert_eq!(joined(&[(NAME.to_owned(), first.to_owned())]), None, "{first}");
        }
    }
}
