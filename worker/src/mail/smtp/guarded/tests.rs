//! Unit tests of the parent module.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    let endless = tokio::io::join(tokio::io::repeat(b'x'), tokio::io::sink());
    let mut wire = Guarded {
        stream: endless,
        plain: Plain::default(),
        pending: b"220 hi\r\n".to_vec(),
        dropping_ehlo: true,
        room: MAX_ANSWER,
    };
    let mut heard = Vec::new();
    let error = wire.read_to_end(&mut heard).await.expect_err("cut off");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(heard.starts_with(b"220 hi\r\nxxx") && heard.len() < 3 * MAX_ANSWER, "{}", heard.len());
    wire.write_all(b"EHLO me\r\nNOOP\r\n").await.expect("written");
    assert!(wire.read_u8().await.is_ok(), "the next answer has its own room");
}
