//! RabbitMQ as hosters set it up: several brokers, client certificates, limits; and what it says when it
//! refuses us.

use std::{path::Path, sync::Arc};

use domain::queue::{Capacity, Publish as _};
use engine::rabbitmq::{Broker, BrokerConfig, Names, RabbitPublisher};
use jiff::Timestamp;
use runtime::{clock::SystemClock, metrics::Metrics, tls::Trust};
use sandbox::events::event;
use secrecy::SecretString;

use crate::harness::{certificates::Certificates, eventually, services::Services};

fn publisher(url: &str, certificates: &Certificates, with_certificate: bool) -> RabbitPublisher {
    let trust = Trust::load(Some(certificates.authority_pem.as_bytes())).expect("usable");
    let names = Names::new("places", Capacity::default());
    let url = SecretString::from(url.to_owned());
    let mut config = BrokerConfig::parse(&url, names, &trust).expect("URLs");
    if with_certificate {
        let identity = (certificates.client_pem.as_bytes(), certificates.client_key_pem.as_bytes());
        config = config.with_identity(&trust, identity).expect("usable");
    }
    let metrics = Arc::new(Metrics::new("test").expect("declared rightly"));
    let broker = Broker { config, metrics, chance: Arc::new(|| 0.0) };
    RabbitPublisher::new(broker, Arc::new(SystemClock))
}

async fn takes_an_event(publisher: RabbitPublisher) {
    eventually("it is connected", async || publisher.ready().ok()).await;
    publisher.publish(&event("1", Timestamp::UNIX_EPOCH)).await.expect("published");
}

async fn refuses(publisher: RabbitPublisher, words: &str) {
    let why = async || publisher.ready().err().filter(|why| why.contains(words));
    eventually(words, async || why().await.map(drop)).await;
}

fn written(folder: &Path, certificates: &Certificates) {
    for (name, text) in [
        ("ca.pem", &certificates.authority_pem),
        ("server.pem", &certificates.server_pem),
        ("key.pem", &certificates.key_pem),
    ] {
        std::fs::write(folder.join(name), text).expect("written");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ: ./scripts/test"]
async fn brokers_are_reached_as_they_are_and_say_why_not() {
    let (folder, certificates) = (tempfile::tempdir().expect("a folder"), Certificates::generate());
    written(folder.path(), &certificates);
    let services = Services::with_certificates(folder.path());
    let url = services.amqp_url();
    let at = |vhost: &str| url.replace("/%2f", &format!("/{vhost}"));

    // The first broker of three is dead, the second refuses.
    let several = format!("amqp://127.0.0.1:1 {}\n{url}", at("nope"));
    takes_an_event(publisher(&several, &certificates, false)).await;
    refuses(publisher(&at("nope"), &certificates, false), "vhost nope not found").await;

    services.command("ctl add_vhost small");
    services.command("ctl set_permissions -p small guest .* .* .*");
    services.command("ctl set_vhost_limits -p small {\"max-queues\":3}");
    refuses(publisher(&at("small"), &certificates, false), "queue limit in vhost 'small'").await;

    // A certificate takes the place of user and password.
    let port = services.amqps_port.expect("there is one");
    let external = format!("amqps://localhost:{port}/%2f?auth_mechanism=external");
    refuses(publisher(&external, &certificates, true), "the broker refused the request").await;
    services.command("ctl add_user authpost unused");
    services.command("ctl set_permissions -p / authpost .* .* .*");
    takes_an_event(publisher(&external, &certificates, true)).await;
    refuses(publisher(&external, &certificates, false), "not connected to the broker:").await;
}
