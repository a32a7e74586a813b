//! WorkOS behind an HTTP proxy, as in networks without a way out of their own.

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional},
    net::TcpStream,
};

use crate::{
    crash::World,
    harness::{
        certificates::Certificates,
        in_time,
        program::{Program, beside, lasting_listener},
    },
};

/// An HTTP proxy that leads every tunnel to one server, which speaks TLS there.
struct HttpProxy {
    address: SocketAddr,
    /// The heads of the requests for a tunnel.
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpProxy {
    async fn start(server: SocketAddr, certificates: &Certificates) -> Self {
        let listener = lasting_listener().await;
        let address = listener.local_addr().expect("bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (acceptor, heads) = (certificates.acceptor(), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, heads) = (acceptor.clone(), Arc::clone(&heads));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if stream.read_line(&mut head).await.ok()? == 0 {
                            return None;
                        }
                    }
                    heads.lock().push(head);
                    stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.ok()?;
                    let mut client = acceptor.accept(stream).await.ok()?;
                    let mut server = TcpStream::connect(server).await.ok()?;
                    copy_bidirectional(&mut client, &mut server).await.ok()
                });
            }
        });
        Self { address, asked }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_read_through_the_proxy_and_doctor_says_so() {
    let (world, certificates) = (World::new().await, Certificates::generate());
    let workos = world.workos.url().trim_start_matches("http://").parse().expect("an address");
    let proxy = HttpProxy::start(workos, &certificates).await;
    let authority = world.folder.path().join("ca.pem");
    std::fs::write(&authority, &certificates.authority_pem).expect("written");
    let mut env = world.env();
    env.retain(|(name, _)| *name != "WORKOS_API_URL");
    env.extend([
        // Nothing listens there: only the proxy knows the way.
        ("WORKOS_API_URL", "https://localhost:4".to_owned()),
        ("AUTHPOST_EXTRA_CA", authority.display().to_string()),
    ]);
    let mut through = env.clone();
    through.push(("https_proxy", format!("http://user:hush@{}", proxy.address)));
    let program = Program::start("serve", &through, &world.log()).await;
    let made = world.ask(&program, "alice@example.com").await;
    in_time("her mail", world.inbox.reached(1)).await;
    assert_eq!(world.copies(&made), 1);
    program.stop().await;
    let said = beside(&["doctor"], &through).await;
    let way = format!("WorkOS is reached through the proxy {}", proxy.address);
    assert!(said.code == 0 && said.out.contains(&way), "{}", said.out);
    assert!(!said.out.contains("hush"), "{}", said.out);
    for head in proxy.asked.lock().iter() {
        assert!(head.starts_with("CONNECT localhost:4 HTTP/1.1\r\n"), "{head}");
        // user:hush in base64 (RFC 7617)
        let head = head.to_ascii_lowercase();
        assert!(head.contains("proxy-authorization: basic dxnlcjpodxno\r\n"), "{head}");
    }
    // Hosts of NO_PROXY are reached directly, which leads nowhere here.
    let mut directly = through.clone();
    directly.push(("NO_PROXY", "localhost".to_owned()));
    let said = beside(&["doctor"], &directly).await;
    assert!(said.code == 1 && said.out.contains("WorkOS is reached directly"), "{}", said.out);
    assert!(said.out.contains("the connection failed"), "{}", said.out);
}
