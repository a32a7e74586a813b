//! A browser, as far as HTTP goes: a cookie jar, an origin, one request a connection. It fails at
//! an answer that the OpenAPI document does not know.

use std::{collections::BTreeMap, net::SocketAddr};

use ::cookie::Cookie;
use serde_json::Value;

use super::openapi::assert_documented;
use crate::harness::{raw_http, settings::ORIGIN};

/// One person's browser at a page of [`ORIGIN`].
pub struct Visitor {
    at: SocketAddr,
    origin: Option<String>,
    headers: Vec<(String, String)>,
    pub jar: BTreeMap<String, String>,
    /// Seconds for which each cookie is kept.
    lives: BTreeMap<String, i64>,
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub struct Answered {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Answered {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every `Set-Cookie` line of the answer.
    pub fn cookies(&self) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(name, _)| name == "set-cookie")
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// `response_type`, or the last part of a problem's type.
    pub fn kind(&self) -> &str {
        let problem =
            || self.body["type"].as_str().and_then(|kind| kind.strip_prefix("urn:authpost:"));
        self.body["response_type"].as_str().or_else(problem).unwrap_or_default()
    }
}

impl Visitor {
    pub fn new(at: SocketAddr) -> Self {
        Self {
            at,
            origin: Some(ORIGIN.to_owned()),
            headers: Vec::new(),
            jar: BTreeMap::new(),
            lives: BTreeMap::new(),
        }
    }

    /// The same at a page of another origin; `None` for what is no page.
    pub fn at_origin(mut self, origin: Option<&str>) -> Self {
        self.origin = origin.map(str::to_owned);
        self
    }

    /// Sends this header with every request.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// So many seconds later: cookies whose time is over are gone.
    pub fn let_pass(&mut self, seconds: i64) {
        self.lives.values_mut().for_each(|left| *left -= seconds);
        self.jar.retain(|name, _| self.lives.get(name).is_none_or(|left| *left > 0));
    }

    pub async fn get(&mut self, path: &str) -> Answered {
        self.send("GET", path, None).await
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> Answered {
        self.send("POST", path, Some(("application/json", body.to_string()))).await
    }

    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Option<(&str, String)>,
    ) -> Answered {
        let mut lines = vec![
            format!("{method} {path} HTTP/1.1"),
            format!("Host: {}", self.at),
            "Connection: close".to_owned(),
        ];
        let mut line = |name: &str, value: &str| lines.push(format!("{name}: {value}"));
        if let Some(origin) = &self.origin {
            line("Origin", origin);
        }
        self.headers.iter().for_each(|(name, value)| line(name, value));
        if !self.jar.is_empty() {
            line(
                "Cookie",
                &self
                    .jar
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect::<Vec<_>>()
                    .join("; "),
            );
        }
        let (kind, body) = body.unwrap_or_default();
        if !kind.is_empty() {
            line("Content-Type", kind);
        }
        line("Content-Length", &body.len().to_string());
        let text =
            raw_http::send(self.at, format!("{}\r\n\r\n{body}", lines.join("\r\n")).as_bytes())
                .await;
        let answered = read(&text);
        assert_documented(method, path, &answered);
        self.keep(&answered);
        answered
    }

    fn keep(&mut self, answered: &Answered) {
        for line in answered.cookies() {
            let cookie = Cookie::parse(line.to_owned()).expect("a cookie");
            if cookie.max_age() == Some(::cookie::time::Duration::ZERO) {
                self.jar.remove(cookie.name());
            } else {
                let name = cookie.name().to_owned();
                let life =
                    cookie.max_age().map_or(i64::MAX, ::cookie::time::Duration::whole_seconds);
                self.lives.insert(name.clone(), life);
                self.jar.insert(name, cookie.value().to_owned());
            }
        }
    }
}

fn read(text: &str) -> Answered {
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    let header = |line: &str| {
        line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()))
    };
    let headers = head.lines().skip(1).filter_map(header).collect();
    Answered {
        status: raw_http::status(text),
        headers,
        body: serde_json::from_str(body).unwrap_or_default(),
    }
}
