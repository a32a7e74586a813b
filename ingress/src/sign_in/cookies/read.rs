//! Reads cookies and bearer tokens from headers, which are bytes.

use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE, HeaderValue},
};
use memchr::memmem;

use super::chunks::MAX_COOKIE;

/// Longest name of a flow, in bytes.
const MAX_FLOW: usize = 16;

/// The value of the one cookie of this name; `None` if there are several, because at least one was
/// not set by us.
///
/// Other cookies may hold any bytes. Only the space and the tab are white space around a name: with
/// Unicode's, a cookie that a sibling host can set would pass for one with our prefix.
pub(super) fn read_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut found = all_values(headers, name);
    let (Some(value), None) = (found.next(), found.next()) else { return None };
    let ours = value.len() <= MAX_COOKIE && value.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(value).ok().filter(|_| ours)
}

/// Whether the browser sent a cookie of this name, whatever it holds.
pub(super) fn is_there(headers: &HeaderMap, name: &str) -> bool {
    all_values(headers, name).next().is_some()
}

fn all_values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    lines.flat_map(move |line| values(line.as_bytes(), name.as_bytes()))
}

/// The values of the cookies of this name in one header line. It looks for the name first, so that
/// a line of many short pairs costs no more than another of its size.
fn values<'a>(line: &'a [u8], name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    memmem::find_iter(line, name).filter_map(move |at| {
        let before = trim_end(&line[..at]);
        if !before.is_empty() && !before.ends_with(b";") {
            return None;
        }
        let rest = trim_start(&line[at + name.len()..]).strip_prefix(b"=")?;
        let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
        Some(trim_start(trim_end(&rest[..end])))
    })
}

fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The ends of the names that begin with `prefix`: the names of flows, the oldest first, as
/// browsers send them (RFC 6265, 5.4).
pub(super) fn flows(headers: &HeaderMap, prefix: &str) -> Vec<String> {
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let name = |(line, at): (&[u8], usize)| {
        let before = trim_end(&line[..at]);
        let begins = before.is_empty() || before.ends_with(b";");
        let rest = &line[at + prefix.len()..];
        let end = rest.iter().take(MAX_FLOW + 1).position(|byte| *byte == b'=')?;
        let name = std::str::from_utf8(&rest[..end]).ok()?;
        (begins && is_flow(name)).then(|| name.to_owned())
    };
    lines
        .flat_map(|line| memmem::find_iter(line, prefix).map(move |at| (line, at)))
        .filter_map(name)
        .collect()
}

fn is_flow(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.bytes().all(plain)
}

/// The token in `Authorization: Bearer`.
pub(in super::super) fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = value.and_then(|value| value.split_once(' '))?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}
