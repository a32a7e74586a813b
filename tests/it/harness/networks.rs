//! The ways to everything an app uses, and networks on them that can fail.

use std::net::{Ipv4Addr, SocketAddr};

use sandbox::proxy::FaultProxy;

use super::program::lasting_listener;

/// Where an app finds what it uses.
#[derive(Clone)]
pub struct Ways {
    pub workos: String,
    pub relay: SocketAddr,
    pub services: Option<Urls>,
}

/// The proxies before RabbitMQ and Redis.
#[derive(Clone)]
pub struct Urls {
    pub amqp: String,
    pub redis: String,
}

/// A network on each way.
pub struct Networks {
    pub workos: FaultProxy,
    pub relay: FaultProxy,
    pub broker: Option<FaultProxy>,
    pub redis: Option<FaultProxy>,
}

impl Networks {
    /// Puts one on each; returns the ways that lead over them.
    pub async fn over(ways: &Ways) -> (Option<Self>, Ways) {
        let (workos, workos_url) = way_to(&ways.workos).await;
        let relay = FaultProxy::start(lasting_listener().await, ways.relay).expect("starts");
        let over = Ways { workos: workos_url, relay: relay.address(), services: None };
        let Some(Urls { amqp, redis }) = &ways.services else {
            return (Some(Self { workos, relay, broker: None, redis: None }), over);
        };
        let ((broker, amqp), (redis, redis_url)) = (way_to(amqp).await, way_to(redis).await);
        let services = Some(Urls { amqp, redis: redis_url });
        (
            Some(Self { workos, relay, broker: Some(broker), redis: Some(redis) }),
            Ways { services, ..over },
        )
    }

    pub fn broker(&self) -> &FaultProxy {
        self.broker.as_ref().expect("on a broker")
    }

    pub fn redis(&self) -> &FaultProxy {
        self.redis.as_ref().expect("on Redis")
    }
}

/// A network to where this URL leads, and the URL that leads over it.
pub async fn way_to(url: &str) -> (FaultProxy, String) {
    let mut url: url::Url = url.parse().expect("a URL");
    let target = (Ipv4Addr::LOCALHOST, url.port().expect("a port")).into();
    let network = FaultProxy::start(lasting_listener().await, target).expect("starts");
    url.set_port(Some(network.address().port())).expect("a URL with a host");
    (network, String::from(url).trim_end_matches('/').to_owned())
}
