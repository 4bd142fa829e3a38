//! What is answered to a request.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode};
use runtime::Secret;
use serde_json::json;
use subtle::ConstantTimeEq;

use crate::metrics;
use crate::orders::{Order, obey};
use crate::server::Parts;

/// Answers for one service.
#[derive(Debug)]
pub(crate) struct Answers {
    parts: Parts,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Index,
    Metrics,
    Alive,
    Ready,
    Status,
    Order(Order),
}

/// An answer before it is dressed as HTTP.
struct Answer {
    code: StatusCode,
    kind: &'static str,
    body: String,
    more: Option<(HeaderName, &'static str)>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// An order is a few dozen bytes.
const BODY_BYTES: usize = 4 << 10;

const INDEX: &str = "keyferry\n\n\
    GET  /metrics   Prometheus\n\
    GET  /healthz   200 while the process lives\n\
    GET  /readyz    200 while it works, 503 with the reason while it does not\n\
    GET  /status    everything it says of itself, JSON\n\
    POST /pause     {\"side\": ...}; with a token, as are the others\n\
    POST /resume    {\"side\": ...}\n\
    POST /throttle  {\"full_rows\": 0, \"full_bytes\": \"10MB\", ...}\n";

const NO_TOKEN: &str = "no orders are taken, since no token is set: set admin.token_file (or KEYFERRY_ADMIN_TOKEN), and \
    start again";

const WRONG_TOKEN: &str = "send the token of admin.token_file: Authorization: Bearer TOKEN";

// === impl Answers ===

impl Answers {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// The answer to a request.
    pub(crate) async fn to<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.answer(request).await.dressed()
    }

    async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Some(asked) = Asked::at(request.uri().path()) else {
            return Answer::said(StatusCode::NOT_FOUND, "there is nothing here: see /");
        };
        let allowed = asked.methods();
        if !allowed.split(", ").any(|method| method == request.method().as_str()) {
            let answer = Answer::said(StatusCode::METHOD_NOT_ALLOWED, "ask otherwise: see /");
            return Answer { more: Some((ALLOW, allowed)), ..answer };
        }
        match asked {
            Asked::Index => Answer::text(INDEX.to_owned()),
            Asked::Metrics => Answer { kind: metrics::CONTENT_TYPE, ..self.metrics() },
            Asked::Alive => Answer::text("alive\n".to_owned()),
            Asked::Ready => match (self.parts.readiness)() {
                Ok(()) => Answer::text("ready\n".to_owned()),
                Err(why) => Answer::said(StatusCode::SERVICE_UNAVAILABLE, &why),
            },
            Asked::Status => Answer::json(&self.parts.status.snapshot()),
            Asked::Order(order) => match may_order(request.headers(), self.parts.token.as_ref()) {
                Err(refused) => refused,
                Ok(()) => self.obey(order, request.into_body()).await,
            },
        }
    }

    fn metrics(&self) -> Answer {
        let is_ready = (self.parts.readiness)().is_ok();
        Answer::text(metrics::render(&self.parts.status, self.parts.version, is_ready))
    }

    async fn obey<B>(&self, order: Order, body: B) -> Answer
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Ok(body) = Limited::new(body, BODY_BYTES).collect().await else {
            let what = format!("the body is not whole, or more than {BODY_BYTES} bytes");
            return Answer::said(StatusCode::BAD_REQUEST, &what);
        };
        match obey(order, &body.to_bytes(), &self.parts.controls) {
            Err(why) => Answer::said(StatusCode::BAD_REQUEST, &why),
            Ok(()) => {
                let sides = self.parts.controls.iter();
                let shown = sides.map(|control| (control.name.to_owned(), control.shown()));
                Answer::json(&serde_json::Value::Object(shown.collect()))
            }
        }
    }
}

/// Whether whoever asks has the token; if not, what is answered.
fn may_order(headers: &HeaderMap, token: Option<&Secret>) -> Result<(), Answer> {
    let Some(token) = token else {
        return Err(Answer::said(StatusCode::FORBIDDEN, NO_TOKEN));
    };
    let sent = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let sent = sent
        .split_at_checked(BEARER.len())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(BEARER));
    let is_right = sent.is_some_and(|(_, sent)| bool::from(sent.ct_eq(token.expose().as_bytes())));
    if is_right {
        return Ok(());
    }
    let answer = Answer::said(StatusCode::UNAUTHORIZED, WRONG_TOKEN);
    Err(Answer { more: Some((WWW_AUTHENTICATE, "Bearer")), ..answer })
}

const BEARER: &[u8] = b"Bearer ";

// === impl Asked ===

impl Asked {
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Index,
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Alive,
            "/readyz" => Self::Ready,
            "/status" => Self::Status,
            "/pause" => Self::Order(Order::Pause),
            "/resume" => Self::Order(Order::Resume),
            "/throttle" => Self::Order(Order::Throttle),
            _ => return None,
        })
    }

    fn methods(self) -> &'static str {
        match self {
            Self::Order(_) => "POST",
            _ => "GET, HEAD",
        }
    }
}

// === impl Answer ===

impl Answer {
    fn text(body: String) -> Self {
        Self { code: StatusCode::OK, kind: TEXT, body, more: None }
    }

    fn json(value: &serde_json::Value) -> Self {
        Self { kind: JSON, ..Self::text(format!("{value:#}\n")) }
    }

    fn said(code: StatusCode, what: &str) -> Self {
        Self { code, kind: JSON, body: format!("{}\n", json!({ "error": what })), more: None }
    }

    fn dressed(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        if let Some((name, value)) = self.more {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
