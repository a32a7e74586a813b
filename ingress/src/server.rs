//! Serves the public listener.

use std::{sync::Arc, time::Duration};

use runtime::{
    health::Heartbeat,
    http::{self, Limits},
};
use tokio::{net::TcpListener, time::interval};
use tokio_util::sync::CancellationToken;

use crate::{routes, state::Ingress};

/// How often the task reports that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Serves on `listener` until `stop`, then finishes open requests.
pub async fn run(
    listener: TcpListener,
    ingress: Arc<Ingress>,
    limits: Limits,
    heartbeat: Heartbeat,
    stop: CancellationToken,
) {
    let metrics = Arc::clone(&ingress.metrics);
    let on_connection = Arc::new(move |event| metrics.http_connection(event));
    let handler = move |request| routes::route(Arc::clone(&ingress), request);
    let serving = http::serve(listener, limits, stop, on_connection, handler);
    let beating = async {
        let mut ticks = interval(HEARTBEAT);
        loop {
            ticks.tick().await;
            heartbeat.beat();
        }
    };
    tokio::select! {
        () = serving => {}
        () = beating => {}
    }
}
