//! Sessions: a browser's cookie is as good as its token, for our own page alone.

use serde_json::{Value, json};

use crate::access::{Guarded, ROLES, TABLE, body, sent};
use crate::place::Place;
use crate::server::{Answer, Server};

const OWN: &str = "http://localhost";

/// `name=value` of what signing in with that token sets.
fn sign_in(server: &Server, token: &str) -> String {
    let answer = server.post("/v1/session", &json!({ "token": token }));
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let (media_type, body) = sent(method, path, body);
    let headers = [&[("Content-Type", media_type)], headers].concat();
    server.request(method, path, &headers, body.as_bytes())
}

fn told(answer: &Answer) -> (u16, String) {
    let code = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default()["code"].clone();
    (answer.status, code.as_str().unwrap_or_default().to_owned())
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(told(answer), (status, code.to_owned()));
}

#[test]
fn a_session_may_what_its_token_may_and_nothing_else() {
    let guarded = Guarded::new();
    let mut n = 0;
    for role in ROLES {
        let scope = if role == "admin" { "*" } else { "acme/*" };
        let token = guarded.token(&format!("the-{role}"), role, &[scope]);
        for (what, method, path, may) in TABLE.iter().copied() {
            n += 1;
            let cookie = sign_in(&guarded.server, &token);
            let (run, run_id, sealed) = guarded.runs("acme/widget", n);
            let path = path.replace("{run}", &run).replace("{run_id}", &run_id).replace("{sealed}", &sealed);
            let sent = body(what, "acme/widget");
            let answer = ask(&guarded.server, method, &path, &[("Cookie", &cookie), ("Origin", OWN)], &sent);
            match may.contains(&role) {
                true if what == "delete token" => refused(&answer, 404, "token_not_found"),
                true => assert!(answer.status < 300, "{role} may {what}: {:?}", told(&answer)),
                false => refused(&answer, 403, "forbidden"),
            }
            // A write that does not say that our own page makes it is none; a read needs not say.
            let silent = ask(&guarded.server, method, &path, &[("Cookie", &cookie)], &sent);
            match method {
                // The backup before may not have let go yet.
                "GET" if what == "backup" && silent.status == 503 => refused(&silent, 503, "busy"),
                "GET" | "HEAD" => assert_eq!(silent.status, answer.status, "{what}"),
                _ => refused(&silent, 403, "origin_refused"),
            }
        }
    }
    let (_, _, other) = guarded.runs("other", 1);
    let cookie = sign_in(&guarded.server, &guarded.token("r", "reader", &["acme/*"]));
    let path = format!("/v1/envelopes/{other}");
    refused(&ask(&guarded.server, "GET", &path, &[("Cookie", &cookie)], &json!({})), 404, "run_not_found");
}

#[test]
fn no_page_of_another_site_writes_with_somebodys_cookie() {
    let guarded = Guarded::new();
    let cookie = sign_in(&guarded.server, &guarded.admin);
    let own = format!("http://{}", guarded.server.address);
    let sent = json!({ "project": "p" }).to_string();
    let post = |headers: &[(&str, &str)]| {
        guarded.server.request(
            "POST",
            "/v1/runs",
            &[&[("Cookie", cookie.as_str())], headers].concat(),
            sent.as_bytes(),
        )
    };
    // The types that a form can send come without a question before; none of them helps.
    for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
    {
        let kind = ("Content-Type", kind);
        for origin in
            ["https://evil.example", "null", "http://localhost.evil.example", "https://localhost", ""]
        {
            refused(&post(&[kind, ("Origin", origin)]), 403, "origin_refused");
        }
        refused(&post(&[kind]), 403, "origin_refused");
        refused(&post(&[kind, ("Origin", OWN), ("Sec-Fetch-Site", "cross-site")]), 403, "origin_refused");
        refused(&post(&[kind, ("Origin", OWN), ("Origin", "https://evil.example")]), 403, "origin_refused");
        if kind.1 != "application/json" {
            refused(&post(&[kind, ("Origin", OWN)]), 415, "media_type_unsupported");
        }
    }
    for (method, path) in [("PUT", "/v1/projects/p"), ("DELETE", "/v1/tokens/x"), ("DELETE", "/v1/session")] {
        let headers = [("Cookie", cookie.as_str()), ("Origin", "https://evil.example")];
        refused(&ask(&guarded.server, method, path, &headers, &json!({})), 403, "origin_refused");
    }
    let cross = [("Cookie", cookie.as_str()), ("Sec-Fetch-Site", "cross-site")];
    refused(&ask(&guarded.server, "GET", "/v1/runs", &cross, &json!({})), 403, "origin_refused");
    let runs = ask(&guarded.server, "GET", "/v1/runs", &[("Cookie", &cookie)], &json!({}));
    assert_eq!(runs.json()["runs"], json!([]), "nothing was recorded");
    let host = guarded.server.address.as_str();
    let kind = ("Content-Type", "application/json");
    assert_eq!(
        post(&[kind, ("Host", host), ("Origin", &own), ("Sec-Fetch-Site", "same-origin")]).status,
        201
    );
}

#[test]
fn only_the_one_cookie_that_was_handed_out_counts_until_it_is_ended() {
    let guarded = Guarded::new();
    let (cookie, other) =
        (sign_in(&guarded.server, &guarded.admin), sign_in(&guarded.server, &guarded.admin));
    let with = |method: &str, path: &str, cookie: &str| {
        ask(&guarded.server, method, path, &[("Cookie", cookie), ("Origin", OWN)], &json!({}))
    };
    let (name, value) = cookie.split_once('=').unwrap();
    let last = if value.ends_with('A') { "B" } else { "A" };
    let tampered = format!("{name}={}{last}", &value[..value.len() - 1]);
    for wrong in [
        tampered.as_str(),
        &format!("{name}={}", value.to_lowercase()),
        &format!("{name}={value}x"),
        &format!("{name}="),
        &format!("{name}=\"{value}\""),
        &format!("{name}={}", guarded.admin),
        &format!("{cookie}; {other}"),
        &format!("{cookie}; {cookie}"),
    ] {
        refused(&with("GET", "/v1/runs", wrong), 401, "session_invalid");
        // What everybody may ask, they may still, and sign in.
        assert_eq!(with("GET", "/v1/keys", wrong).status, 200);
        let headers = [("Cookie", wrong), ("Origin", OWN)];
        let again = json!({ "token": guarded.admin });
        assert_eq!(ask(&guarded.server, "POST", "/v1/session", &headers, &again).status, 201);
    }
    refused(&with("GET", "/v1/runs", &format!("__Host-{cookie}")), 401, "token_required");
    assert_eq!(with("GET", "/v1/runs", &format!("a=b; {cookie}; c=d")).status, 200);
    let ended = with("DELETE", "/v1/session", &cookie);
    assert_eq!(ended.status, 204);
    assert!(
        ended.header("set-cookie").unwrap().starts_with("sealstone_session=; Max-Age=0; Path=/; HttpOnly")
    );
    refused(&with("GET", "/v1/runs", &cookie), 401, "session_invalid");
    assert_eq!(with("GET", "/v1/runs", &other).status, 200);
}

#[test]
fn an_ended_session_stays_ended_and_the_others_go_on_after_a_kill() {
    let mut guarded = Guarded::new();
    let (ended, lasting) =
        (sign_in(&guarded.server, &guarded.admin), sign_in(&guarded.server, &guarded.admin));
    let headers = [("Cookie", ended.as_str()), ("Origin", OWN)];
    assert_eq!(ask(&guarded.server, "DELETE", "/v1/session", &headers, &json!({})).status, 204);
    guarded.server.kill();
    let server = Server::start(&guarded.place, &[]);
    let look = |cookie: &str| ask(&server, "GET", "/v1/session", &[("Cookie", cookie)], &json!({}));
    refused(&look(&ended), 401, "session_invalid");
    assert_eq!(look(&lasting).json()["by"], "session");
    // Nothing that lets anybody in stands in the data directory.
    let secret = lasting.split_once('=').unwrap().1.as_bytes();
    let mut open = vec![guarded.place.path("records")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
            }
        }
    }
}

#[test]
fn the_sessions_of_a_deleted_token_let_nobody_in() {
    let guarded = Guarded::new();
    let made = guarded.admin("POST", "/v1/tokens", &json!({ "name": "gone", "role": "reader" }));
    let cookie = sign_in(&guarded.server, made["token"].as_str().unwrap());
    let look = || ask(&guarded.server, "GET", "/v1/session", &[("Cookie", &cookie)], &json!({}));
    assert_eq!(look().json()["name"], "gone");
    guarded.admin("DELETE", &format!("/v1/tokens/{}", made["id"].as_str().unwrap()), &json!({}));
    refused(&look(), 401, "session_invalid");
}

#[test]
fn everybody_is_told_who_they_are() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    assert_eq!(
        server.get("/v1/session").json(),
        json!({ "role": "admin", "projects": ["*"], "by": "local" })
    );
    refused(&server.post("/v1/session", &json!({ "token": "sst_x" })), 409, "no_tokens");
    drop(server);

    let guarded = Guarded::new();
    let made = json!({ "name": "ann", "role": "approver", "projects": ["acme/*"],
        "expires_at": "2999-01-01T00:00:00.000Z" });
    let token = guarded.admin("POST", "/v1/tokens", &made)["token"].as_str().unwrap().to_owned();
    let mut by_token = made;
    by_token["by"] = json!("token");
    assert_eq!(guarded.ask(&token, "GET", "/v1/session", &json!({})).json(), by_token);
    let cookie = sign_in(&guarded.server, &token);
    let by_session = ask(&guarded.server, "GET", "/v1/session", &[("Cookie", &cookie)], &json!({})).json();
    assert_eq!((&by_session["name"], &by_session["by"]), (&json!("ann"), &json!("session")));
    assert!(by_session["expires_at"].as_str().unwrap() < "2999");
    // Both a token and a cookie: the token counts, also when it does not.
    let both = |bearer: &str| {
        let bearer = format!("Bearer {bearer}");
        ask(
            &guarded.server,
            "GET",
            "/v1/session",
            &[("Cookie", &cookie), ("Authorization", &bearer)],
            &json!({}),
        )
    };
    assert_eq!(both(&guarded.admin).json()["name"], "root");
    refused(&both("sst_x"), 401, "token_invalid");
    refused(&guarded.ask("", "GET", "/v1/session", &json!({})), 401, "token_required");
}

#[test]
fn a_session_begins_with_a_token_that_counts_and_by_no_other_site() {
    let guarded = Guarded::new();
    let begin =
        |headers: &[(&str, &str)], sent: &Value| ask(&guarded.server, "POST", "/v1/session", headers, sent);
    let good = json!({ "token": guarded.admin });
    for foreign in [("Origin", "https://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")]
    {
        let answer = begin(&[foreign], &good);
        refused(&answer, 403, "origin_refused");
        assert_eq!(answer.header("set-cookie"), None);
    }
    let plain = guarded.server.request("POST", "/v1/session", &[("Content-Type", "text/plain")], b"{}");
    refused(&plain, 415, "media_type_unsupported");
    for wrong in [json!({}), json!({ "token": 1 }), json!({ "token": guarded.admin, "more": 1 })] {
        refused(&begin(&[], &wrong), 422, "member_invalid");
    }
    for wrong in ["sst_x", "", "x"] {
        let answer = begin(&[], &json!({ "token": wrong }));
        refused(&answer, 401, "token_invalid");
        assert_eq!(answer.header("set-cookie"), None);
    }
    let cookie = begin(&[("Origin", OWN)], &good).header("set-cookie").unwrap().to_owned();
    let (value, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(attributes, " Max-Age=43200; Path=/; HttpOnly; SameSite=Strict");
    assert_eq!(value.len(), "sealstone_session=".len() + 22);
}

#[test]
fn behind_a_proxy_the_cookie_is_for_https_alone() {
    let guarded = Guarded::with(&["--behind-proxy"]);
    let sent = json!({ "token": guarded.admin });
    let begin = |origin: &str| {
        let headers = [("Host", "ci.example.org"), ("Origin", origin)];
        ask(&guarded.server, "POST", "/v1/session", &headers, &sent)
    };
    refused(&begin("http://ci.example.org"), 403, "origin_refused");
    let answer = begin("https://ci.example.org");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-sealstone_session=") && cookie.ends_with("; Secure"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let open = |origin: &str, cookie: &str| {
        let headers = [("Host", "ci.example.org"), ("Cookie", cookie), ("Origin", origin)];
        ask(&guarded.server, "POST", "/v1/runs", &headers, &json!({ "project": "p" }))
    };
    refused(&open("http://ci.example.org", cookie), 403, "origin_refused");
    assert_eq!(open("https://ci.example.org", cookie).status, 201);
    // The name without the prefix could be set by another host, or in the open.
    refused(&open("https://ci.example.org", &cookie.replace("__Host-", "")), 401, "token_required");
}

#[test]
fn a_session_counts_to_the_rate_of_its_token() {
    let guarded = Guarded::with(&["--rate-limit", "5"]);
    let cookie = sign_in(&guarded.server, &guarded.admin);
    let look = || ask(&guarded.server, "GET", "/v1/session", &[("Cookie", &cookie)], &json!({}));
    let limited = (0..30).map(|_| look()).find(|answer| answer.status == 429).expect("no limit");
    refused(&limited, 429, "rate_limited");
    refused(&guarded.ask(&guarded.admin, "GET", "/v1/session", &json!({})), 429, "rate_limited");
}
