//! The public URL of the webhook, by a signed probe: an event of a kind that needs no mail.

use bytes::Bytes;
use domain::{
    clock::Clock as _,
    webhook::{SIGNATURE_HEADER, SignedDelivery, WebhookKeys},
};
use http_body_util::Full;
use hyper::{Request, header::CONTENT_TYPE};
use runtime::{clock::SystemClock, random::ulid, tls::Trust};
use serde_json::{Value, json};
use url::Url;

use super::request;
use crate::finding::Finding;

const SUBJECT: &str = "webhook";

const UNREACHABLE: &str = "check DNS, the certificate, the firewall and the proxy: \
                           WorkOS cannot reach it either";

/// `keys` are missing where the settings are those of a worker alone.
pub(super) async fn examine(
    keys: Option<&WebhookKeys>,
    url: &Url,
    trust: &Trust,
) -> anyhow::Result<Finding> {
    let Some(keys) = keys else {
        let advice = "run this with the settings of an ingress";
        return Ok(Finding::wrong(SUBJECT, "there is no secret here to sign a probe with", advice));
    };
    let (probe, signature) = probe(keys, url)?;
    let answered = request::send(trust, probe).await;
    Ok(match answered.map(|(head, body)| (head.status.as_u16(), body)) {
        Ok((200, body)) if is_verified(keys, &signature, &body) => {
            Finding::good(SUBJECT, "a signed probe arrived and was recognized")
        }
        Ok((200, _)) => {
            let advice = "something else answers there, or an Authpost of an earlier release: \
                          check where the proxy sends it";
            Finding::wrong(SUBJECT, "the probe was answered 200, but not verified there", advice)
        }
        Ok((401, _)) => {
            let advice =
                "WORKOS_WEBHOOK_SECRET differs between here and there, or a clock is wrong";
            Finding::wrong(SUBJECT, "the signature of the probe was rejected there", advice)
        }
        Ok((404 | 405, _)) => {
            let advice = "it ends in /v1/workos_webhook/; check the paths of the proxy";
            Finding::wrong(SUBJECT, "there is no webhook at that URL", advice)
        }
        Ok((status, _)) => {
            let advice = "check the proxy in front, and whether the service is ready";
            Finding::wrong(SUBJECT, format!("the probe was answered {status}"), advice)
        }
        Err(_) => Finding::wrong(SUBJECT, "nothing answers at that URL", UNREACHABLE),
    })
}

/// A probe, and its signature.
fn probe(keys: &WebhookKeys, url: &Url) -> anyhow::Result<(Request<Full<Bytes>>, String)> {
    let now = SystemClock.now();
    let id = format!("event_{}", ulid(now));
    let kind = ingress::PROBE;
    let body = json!({ "object": "event", "id": id, "event": kind, "data": {}, "created_at": now });
    let body = body.to_string();
    let signature = keys.sign(now, body.as_bytes()).unwrap_or_default();
    let request = Request::post(url.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(SIGNATURE_HEADER, &signature)
        .body(Full::new(Bytes::from(body)))?;
    Ok((request, signature))
}

/// Whether the answer has a proof that the probe was verified: its signature, signed with the same
/// secret. Anybody can answer 200.
fn is_verified(keys: &WebhookKeys, signature: &str, answer: &[u8]) -> bool {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let proof = answer["proof"].as_str().map(str::as_bytes);
    let body = Bytes::copy_from_slice(signature.as_bytes());
    let delivery = SignedDelivery { signature: proof, body, received_at: SystemClock.now() };
    delivery.verify(keys).is_ok()
}
