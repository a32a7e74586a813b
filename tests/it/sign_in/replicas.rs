//! Signing in where a replica is not alone: any of them finishes what another began, and what they
//! share may be away.

use sandbox::{proxy::Network, workos::Call};

use super::visitor::Visitor;
use crate::{
    crash::World,
    harness::{
        app::{Setup, fresh_prefix},
        program::Program,
        queues::delete_queues,
        services::Services,
        settings::{CLIENT_ID, ORIGIN},
    },
};

const ALICE: &str = "alice@example.com";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn what_one_front_begins_another_finishes() {
    let (world, services, prefix) = (World::new().await, Services::shared(), fresh_prefix());
    world.workos.for_client(CLIENT_ID);
    let mut env = world.on_brokers(services, &prefix);
    // An ingress has no business with the relay.
    env.retain(|(name, _)| !name.starts_with("SMTP") && *name != "MAIL_FROM");
    env.extend([
        ("WORKOS_CLIENT_ID", CLIENT_ID.to_owned()),
        ("AUTHPOST_SIGNIN_ORIGINS", ORIGIN.to_owned()),
    ]);
    let ingresses = [
        Program::start("ingress", &env, &world.log()).await,
        Program::start("ingress", &env, &world.log()).await,
    ];
    let [mut first, mut second] =
        ingresses.each_ref().map(|ingress| Visitor::new(ingress.public.expect("an ingress")));
    let authorize = first.leave(None).await;
    let back = world.workos.approve(&authorize, ALICE).expect("somewhere to go");
    second.jar = first.jar.clone();
    assert_eq!(second.come_back(&back).await.kind(), "LOGIN_SUCCESSFUL");
    assert_eq!(first.come_back(&back).await.kind(), "LINK_INVALID", "spent for both");
    first.jar = second.jar.clone();
    assert_eq!(first.get("/v2/user/session/").await.status, 200);
    let refreshed = first.post("/v2/user/refresh/", &serde_json::json!({})).await;
    let late = second.post("/v2/user/refresh/", &serde_json::json!({})).await;
    assert_eq!((refreshed.status, late.status), (200, 409), "one call for both");
    assert_eq!((late.kind(), late.cookies().len()), ("refreshed_elsewhere", 0));
    for ingress in ingresses {
        ingress.stop().await;
    }
    delete_queues(services.amqp_url(), &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn without_redis_nobody_comes_in_and_no_code_is_used_up() {
    let app = Setup::distributed().faulty().sign_in(|_| {}).start().await;
    let mut alice = app.visitor();
    let authorize = alice.leave(None).await;
    let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
    app.networks().redis().set(Network::Refused);
    let answered = alice.come_back(&back).await;
    assert_eq!(
        (answered.status, answered.kind(), answered.cookies().len()),
        (503, "signin_unavailable", 0)
    );
    assert!(answered.header("retry-after").is_some());
    assert_eq!(app.workos.calls(Call::Authenticate).len(), 0);
    app.networks().redis().set(Network::Fine);
    let again = crate::harness::eventually("Redis is back", async || {
        let answered = alice.come_back(&back).await;
        (answered.status != 503).then_some(answered)
    });
    assert_eq!(again.await.kind(), "LOGIN_SUCCESSFUL", "the same link is good when Redis is back");
    app.is_ready().await;
    app.finish().await;
}
