//! Unit tests of the parent module.

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;

/// Sends so many requests at once on a connection of its own.
async fn send(to: SocketAddr, path: &str, requests: usize) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
    stream.write_all(request.repeat(requests).as_bytes()).await.expect("written");
    stream
}

/// On one thread, so that the order of the requests is that of the runtime's turns.
#[tokio::test]
async fn requests_that_come_at_once_take_turns_with_other_connections() {
    let listener = listen(([127, 0, 0, 1], 0).into()).expect("a free port");
    let at = listener.local_addr().expect("bound");
    let many = send(at, "/many", 100).await;
    let mut one = send(at, "/one", 1).await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let asked = Arc::clone(&asked);
        move |request: Received| {
            asked.lock().push(request.uri().path().to_owned());
            async { answer(StatusCode::OK, "text/plain", "ok") }
        }
    };
    let limits = Limits::new(10, Duration::from_secs(1));
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, limits, stop.clone(), Arc::new(|_| {}), handler));
    let mut answered = [0; 15];
    one.read_exact(&mut answered).await.expect("answered");
    assert_eq!(&answered, b"HTTP/1.1 200 OK");
    let before = asked.lock().iter().take_while(|path| *path != "/one").count();
    assert!(before < 8, "{before} of the others came before it");
    drop((one, many));
    stop.cancel();
    serving.await.expect("no panic");
}
