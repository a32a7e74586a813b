//! `GET /events`: everything that happened, also what no webhook was posted for
//! (<https://workos.com/docs/reference/events/list>).

use std::collections::HashMap;

use hyper::StatusCode;
use jiff::Timestamp;
use runtime::http::{self, Answer};
use serde_json::{Value, json};

use super::{Asked, MagicAuth, Shared, refuse};

pub(super) fn answer(shared: &Shared, asked: &Asked) -> Answer {
    if !asked.authorized {
        return refuse(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(asked.query.as_bytes()).into_owned().collect();
    let Some(kinds) = query.get("events") else {
        return http::json(
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!({ "errors": [{ "code": "required", "field": "events" }] }),
        );
    };
    if query.contains_key("after") && query.contains_key("range_start") {
        return refuse(StatusCode::BAD_REQUEST, "after and range_start exclude each other");
    }
    let wanted = kinds.split(',').any(|kind| kind == "magic_auth.created");
    let from = query
        .get("range_start")
        .and_then(|from| from.parse::<Timestamp>().ok())
        .unwrap_or(Timestamp::MIN);
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(10);
    let mut history: Vec<MagicAuth> = shared
        .history
        .lock()
        .iter()
        .filter(|made| wanted && made.created_at >= from)
        .cloned()
        .collect();
    history.sort_by_key(|made| made.created_at);
    // Newest first is WorkOS's default.
    if query.get("order").map(String::as_str) != Some("asc") {
        history.reverse();
    }
    let begin = query.get("after").map_or(0, |after| {
        history.iter().position(|made| made.event_id == *after).map_or(0, |at| at + 1)
    });
    let page: Vec<&MagicAuth> = history.iter().skip(begin).take(limit).collect();
    let more = history.len() > begin + page.len();
    let after = page.last().filter(|_| more).map(|made| made.event_id.clone());
    let data: Vec<Value> =
        page.iter().filter_map(|made| serde_json::from_str(&made.event()).ok()).collect();
    http::json(
        StatusCode::OK,
        &json!({ "object": "list", "data": data, "list_metadata": { "before": null, "after": after } }),
    )
}
