//! Connecting to the broker: TCP, TLS by our own configuration, and the AMQP handshake.
//!
//! lapin can do this by itself, but its TLS brings a PKCS#12 reader with some thirty crates that
//! nothing here uses. lapin takes any stream that its view of a runtime declares, so [`Network`]
//! declares ours.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures_util::{
    Stream,
    io::{AsyncRead as FuturesRead, AsyncWrite as FuturesWrite},
    stream,
};
use lapin::{
    Connection, ConnectionProperties,
    tcp::AsyncTcpStream,
    uri::{AMQPScheme, AMQPUri},
};
use runtime::dial::dial;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

/// Opens an AMQP connection over a stream of ours.
pub(super) async fn connect(
    uri: AMQPUri,
    tls: Arc<ClientConfig>,
    properties: ConnectionProperties,
) -> lapin::Result<Connection> {
    let runtime = Runtime::new(RuntimeParts::new(Tokio::current(), Network));
    let connector = async move |uri: AMQPUri, _: Runtime<_>| {
        let stream = open(&uri, Arc::clone(&tls)).await.map_err(failed)?;
        Ok(AsyncTcpStream::Plain(stream.compat()))
    };
    Connection::connector(uri, runtime, connector, properties).await
}

/// An IO error as lapin's.
pub(super) fn failed(error: io::Error) -> lapin::Error {
    lapin::ErrorKind::IOError(Arc::new(error)).into()
}

/// A stream, encrypted or not.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Transport for S {}

async fn open(uri: &AMQPUri, tls: Arc<ClientConfig>) -> io::Result<Box<dyn Transport>> {
    let host = uri.authority.host.trim_matches(['[', ']']).to_owned();
    let tcp = dial(&host, uri.authority.port).await?;
    match uri.scheme {
        AMQPScheme::AMQP => Ok(Box::new(tcp)),
        AMQPScheme::AMQPS => {
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            Ok(Box::new(TlsConnector::from(tls).connect(name, tcp).await?))
        }
    }
}

/// The network as lapin sees it: streams come from [`open`], timers from tokio.
#[derive(Debug, Clone, Copy)]
struct Network;

impl Reactor for Network {
    type TcpStream = Compat<Box<dyn Transport>>;
    type Sleep = tokio::time::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl FuturesRead + FuturesWrite + Send + Unpin + 'static> {
        Err::<Self::TcpStream, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        tokio::time::sleep(duration)
    }

    fn interval(&self, period: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        stream::unfold(tokio::time::interval(period), async |mut interval| {
            let tick = interval.tick().await;
            Some((tick.into_std(), interval))
        })
    }

    #[expect(clippy::manual_async_fn, reason = "the trait wants a future that borrows nothing")]
    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        async move {
            let tcp: Box<dyn Transport> = Box::new(tokio::net::TcpStream::connect(address).await?);
            Ok(tcp.compat())
        }
    }
}
