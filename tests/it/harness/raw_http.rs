//! HTTP by hand, for what no client would send.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::in_time;

/// Sends these bytes, closes nothing, and returns everything that comes back until the server
/// closes.
pub async fn send(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    // A server that has refused a request may stop reading it.
    drop(stream.write_all(bytes).await);
    let mut answer = Vec::new();
    in_time("an answer and a closed connection", async {
        drop(stream.read_to_end(&mut answer).await);
    })
    .await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status and body of a GET.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = send(
        address,
        format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes(),
    )
    .await;
    (
        status(&answer),
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default(),
    )
}

/// The status of an answer.
pub fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {answer:?}"))
}
