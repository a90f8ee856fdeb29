//! What a route does, said so that programs can read it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::parameters;
use super::schema::refer;
use crate::evidence::canonical::JsonCode;
use crate::http::body::JSON;
use crate::service::Action;

/// Statuses, and the codes of the problems that are answered with each.
pub(in crate::http) type Refusals = &'static [(u16, &'static [&'static str])];

/// Of every route, whoever may ask.
const ANYWHERE: Refusals = &[
    (401, &["token_invalid"]),
    (403, &["origin_refused"]),
    (421, &["host_refused"]),
    (429, &["rate_limited"]),
];
/// Where a body is taken.
const SENT: Refusals = &[
    (400, &["body_incomplete"]),
    (408, &["body_too_slow"]),
    (413, &["body_too_large"]),
    (415, &["media_type_unsupported"]),
    (503, &["busy"]),
];
/// Where a run is named.
const OF_A_RUN: Refusals =
    &[(404, &["run_not_found"]), (409, &["run_ambiguous"]), (503, &["store_unavailable"])];
/// Where something is recorded.
const RECORDING: Refusals = &[
    (413, &["element_too_large"]),
    (422, &["member_invalid", "idempotency_key_reused"]),
    (503, &["busy", "store_unavailable"]),
    (507, &["disk_full"]),
];

/// What a route takes and answers. What follows from it, like the problems of a body where one is taken, is added by itself.
pub(in crate::http) struct Operation {
    pub(super) id: &'static str,
    summary: &'static str,
    about: &'static str,
    /// What the caller's role must allow; `None` where no token is needed.
    pub(super) needs: Option<Action>,
    pub(super) query: &'static [&'static str],
    required: &'static [&'static str],
    /// Parameters that are something else here.
    special: Vec<(&'static str, Value)>,
    pub(super) headers: Vec<&'static str>,
    body: Option<Value>,
    answers: BTreeMap<u16, Value>,
    pub(super) refusals: BTreeMap<u16, BTreeSet<&'static str>>,
}

impl Operation {
    /// An operation of a name that no other has, in few words.
    pub(in crate::http) fn new(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            about: "",
            needs: None,
            query: &[],
            required: &[],
            special: Vec::new(),
            headers: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            refusals: BTreeMap::new(),
        }
        .refuses_all(ANYWHERE)
    }

    /// What else is to be known.
    pub(in crate::http) fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// Needs a token of a role that may do that.
    pub(in crate::http) fn needs(self, action: Action) -> Self {
        let needs = Self { needs: Some(action), ..self };
        needs.refuses(401, &["session_invalid", "token_required"]).refuses(403, &["forbidden"])
    }

    /// Is about a run that the path names.
    pub(in crate::http) fn of_a_run(self) -> Self {
        self.refuses_all(OF_A_RUN)
    }

    /// Takes these parameters of the query, and no others.
    pub(in crate::http) fn query(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }.refuses(400, &["parameter_invalid"])
    }

    /// Does nothing without these of the query.
    pub(in crate::http) fn requires(self, required: &'static [&'static str]) -> Self {
        Self { required, ..self }
    }

    /// Takes something else for that parameter than others do.
    pub(in crate::http) fn takes_for(mut self, name: &'static str, schema: Value) -> Self {
        self.special.push((name, schema));
        self
    }

    /// Looks at that header.
    pub(in crate::http) fn header(mut self, name: &'static str) -> Self {
        self.headers.push(name);
        self
    }

    /// Takes a body of JSON.
    pub(in crate::http) fn takes(self, schema: Value) -> Self {
        self.takes_any(JSON, schema).parses()
    }

    /// Takes a body that is not looked into before it is taken.
    pub(in crate::http) fn takes_any(mut self, media_type: &'static str, schema: Value) -> Self {
        let body = self.body.get_or_insert_with(|| json!({ "required": true, "content": {} }));
        body["content"][media_type] = json!({ "schema": schema });
        self.refuses_all(SENT)
    }

    /// Does with no body too.
    pub(in crate::http) fn or_nothing(mut self) -> Self {
        if let Some(body) = &mut self.body {
            body["required"] = false.into();
        }
        self
    }

    /// Parses what is sent, strictly.
    pub(in crate::http) fn parses(self) -> Self {
        let codes: [&str; 6] = JsonCode::ALL.map(JsonCode::as_str);
        codes.into_iter().fold(self, |operation, code| operation.refuses(400, &[code]))
    }

    /// Records something: durable before it is answered, and with a key it can be sent again.
    pub(in crate::http) fn records(self) -> Self {
        self.header("Idempotency-Key").refuses(400, &["parameter_invalid"]).refuses_all(RECORDING)
    }

    /// Records only while the chain ends so.
    pub(in crate::http) fn compares(self) -> Self {
        self.header("If-Match").refuses(412, &["head_mismatch"])
    }

    pub(in crate::http) fn answers(
        mut self,
        status: u16,
        description: &str,
        media_type: &str,
        schema: Value,
    ) -> Self {
        let answer = json!({ "description": description, "content": { media_type: { "schema": schema } } });
        self.answers.insert(status, answer);
        self
    }

    /// Or with the same status something of another type.
    pub(in crate::http) fn or_answers(mut self, status: u16, media_type: &str, schema: Value) -> Self {
        if let Some(answer) = self.answers.get_mut(&status) {
            answer["content"][media_type] = json!({ "schema": schema });
        }
        self
    }

    /// Answers without a body.
    pub(in crate::http) fn answers_nothing(mut self, status: u16, description: &str) -> Self {
        self.answers.insert(status, json!({ "description": description }));
        self
    }

    /// Every answer that is none of its problems, so far, has that header; `required` if always.
    pub(in crate::http) fn with_header(mut self, name: &str, required: bool) -> Self {
        for answer in self.answers.values_mut() {
            answer["headers"][name] = parameters::header(name, required);
        }
        self
    }

    /// What can be asked next, with these of the answer and the request (OpenAPI runtime expressions), by an operation's parameters.
    pub(in crate::http) fn links(mut self, operations: &[&str], with: &[(&str, &str)]) -> Self {
        let with: Map<String, Value> =
            with.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        for answer in self.answers.values_mut() {
            for id in operations {
                answer["links"][*id] = json!({ "operationId": id, "parameters": with });
            }
        }
        self
    }

    /// May be refused with these codes; a status is one of answers or of problems, not of both.
    pub(in crate::http) fn refuses(mut self, status: u16, codes: &[&'static str]) -> Self {
        self.refusals.entry(status).or_default().extend(codes);
        self
    }

    pub(in crate::http) fn refuses_all(self, refusals: Refusals) -> Self {
        refusals.iter().fold(self, |operation, (status, codes)| operation.refuses(*status, codes))
    }

    /// The statuses of its answers that are no problems.
    #[cfg(test)]
    pub(super) fn answered(&self) -> impl Iterator<Item = u16> {
        self.answers.keys().copied()
    }

    /// The Operation Object, but for who may.
    pub(super) fn described(&self, has_path: bool) -> Value {
        let mut refusals = self.refusals.clone();
        if has_path {
            refusals.entry(400).or_default().insert("path_invalid");
        }
        let mut responses: Map<String, Value> =
            self.answers.iter().map(|(status, answer)| (status.to_string(), answer.clone())).collect();
        for (status, codes) in &refusals {
            responses.insert(status.to_string(), problem(*status, codes));
        }
        for answer in responses.values_mut() {
            answer["headers"]["X-Request-Id"] = json!({ "$ref": "#/components/headers/X-Request-Id" });
        }
        let query = self.query.iter().map(|name| self.of_the_query(name));
        let headers = self.headers.iter().map(|name| parameters::of("header", name));
        let mut described = json!({
            "operationId": self.id,
            "summary": self.summary,
            "parameters": query.chain(headers).collect::<Vec<_>>(),
            "responses": responses,
        });
        if !self.about.is_empty() {
            described["description"] = self.about.into();
        }
        if let Some(body) = &self.body {
            described["requestBody"] = body.clone();
        }
        described
    }

    fn of_the_query(&self, name: &str) -> Value {
        let mut parameter = parameters::of("query", name);
        if self.required.contains(&name) {
            parameter["required"] = true.into();
        }
        if let Some((_, schema)) = self.special.iter().find(|(special, _)| *special == name) {
            parameter["schema"] = schema.clone();
        }
        parameter
    }
}

/// A problem with one of these codes.
fn problem(status: u16, codes: &BTreeSet<&str>) -> Value {
    let mut members = json!({ "properties": { "status": { "const": status }, "code": { "enum": codes } } });
    if status >= 500 {
        members["required"] = json!(["request_id"]);
    }
    let mut answer = json!({
        "description": codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", "),
        "content": { "application/problem+json": { "schema": { "allOf": [refer("Problem"), members] } } },
    });
    match status {
        _ if codes.contains("log_offset_mismatch") => {
            answer["headers"]["Upload-Offset"] = parameters::header("Upload-Offset", false);
        }
        401 => answer["headers"]["WWW-Authenticate"] = parameters::header("WWW-Authenticate", true),
        429 | 503 | 507 => answer["headers"]["Retry-After"] = parameters::header("Retry-After", true),
        _ => {}
    }
    answer
}
