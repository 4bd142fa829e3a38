//! Asked over a socket: every address, every refusal, and whoever does not keep to the rules.

use runtime::{Limits, ManualClock, SystemClock, Throttle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const TOKEN: &str = "a token of some length";

/// A server that is asked.
struct Bench {
    address: SocketAddr,
    apply: Throttle,
    status: StatusNode,
    tasks: Tasks,
}

/// An answer: its code, its head, its body.
struct Said {
    code: u16,
    head: String,
    body: String,
}

impl Bench {
    async fn start(token: Option<&str>, clock: Arc<dyn Clock>) -> Self {
        let (apply, status) = (Throttle::default(), StatusNode::root());
        status.set("state", "running");
        let control = |name, reads_source, throttle| Control { name, reads_source, throttle };
        let readiness_of = status.clone();
        let parts = Parts {
            controls: vec![
                control("apply", false, apply.clone()),
                control("capture", true, Throttle::default()),
            ],
            status: status.clone(),
            clock: Arc::clone(&clock),
            version: "1.2.3",
            token: token.map(Secret::new),
            readiness: Arc::new(move || {
                let is_running = readiness_of.snapshot()["state"] == "running";
                if is_running { Ok(()) } else { Err("it sleeps".to_owned()) }
            }),
        };
        let admin = Admin::bind("127.0.0.1:0", parts).await.unwrap();
        let (address, tasks) = (admin.address(), Tasks::new(clock));
        let stop = tasks.stop_token();
        tasks.spawn("admin", OnFailure::StopAll, async move {
            admin.run(stop).await;
            Ok(())
        });
        Self { address, apply, status, tasks }
    }

    async fn plain() -> Self {
        Self::start(Some(TOKEN), Arc::new(SystemClock::new())).await
    }

    async fn send(&self, request: &str) -> Said {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        let (head, body) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Said { code, head: head.to_lowercase(), body: body.to_owned() }
    }

    async fn get(&self, path: &str) -> Said {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await
    }

    async fn post(&self, path: &str, authorization: &str, body: &str) -> Said {
        let length = body.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\n{authorization}Content-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    async fn order(&self, path: &str, body: &str) -> Said {
        self.post(path, &format!("Authorization: Bearer {TOKEN}\r\n"), body).await
    }
}

#[tokio::test]
async fn whoever_may_not_give_orders_is_refused_and_told_what_is_missing() {
    let bench = Bench::plain().await;
    let wrong = [
        String::new(),
        "Authorization: Bearer wrong\r\n".to_owned(),
        format!("Authorization: Bearer {TOKEN}x\r\n"),
        format!("Authorization: Basic {TOKEN}\r\n"),
        "Authorization: Bear\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
    ];
    for authorization in &wrong {
        for path in ["/pause", "/resume", "/throttle"] {
            let said = bench.post(path, authorization, "{}").await;
            assert_eq!(said.code, 401, "{authorization}");
            assert!(said.head.contains("www-authenticate: bearer"), "{}", said.head);
            assert!(!said.body.contains(TOKEN), "{}", said.body);
        }
    }
    assert!(!bench.apply.is_paused());
    let without = Bench::start(None, Arc::new(SystemClock::new())).await;
    for authorization in ["", "Authorization: Bearer \r\n"] {
        let said = without.post("/pause", authorization, "").await;
        assert_eq!(said.code, 403);
        assert!(said.body.contains("admin.token_file"), "{}", said.body);
    }
    assert!(!without.apply.is_paused());
}

#[tokio::test]
async fn orders_are_obeyed_and_answered_with_what_is_in_force() {
    let bench = Bench::plain().await;
    let said = bench.order("/pause", "").await;
    let found: serde_json::Value = serde_json::from_str(&said.body).unwrap();
    assert_eq!((said.code, &found["apply"]["paused"]), (200, &true.into()));
    assert_eq!(found["capture"]["paused"], false);
    assert!(bench.apply.is_paused());
    assert_eq!(bench.order("/resume", r#"{"side": "apply"}"#).await.code, 200);
    assert!(!bench.apply.is_paused());
    let said = bench.order("/throttle", r#"{"full_rows": 7, "incremental_bytes": "1kB"}"#).await;
    let found: serde_json::Value = serde_json::from_str(&said.body).unwrap();
    assert_eq!(found["apply"]["full_rows"], 7);
    assert_eq!(bench.apply.limits().incremental.bytes, 1_000);
    let refused = bench.order("/throttle", r#"{"full_row": 9}"#).await;
    assert_eq!((refused.code, bench.apply.limits().full.rows), (400, 7));
    assert!(refused.body.contains("full_row"), "{}", refused.body);
}

#[tokio::test]
async fn every_address_answers_and_the_others_do_not() {
    let bench = Bench::plain().await;
    let metrics = bench.get("/metrics").await;
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.head);
    assert!(metrics.body.contains("keyferry_info{version=\"1.2.3\"} 1\n"), "{}", metrics.body);
    assert_eq!(bench.get("/").await.code, 200);
    assert_eq!(bench.get("/healthz").await.code, 200);
    let status = bench.get("/status?pretty").await;
    let shown: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    assert_eq!(shown["state"], "running");
    assert_eq!(bench.get("/readyz").await.code, 200);
    bench.status.set("state", "starting");
    let unready = bench.get("/readyz").await;
    assert_eq!((unready.code, unready.body.contains("it sleeps")), (503, true));
    assert!(bench.get("/metrics").await.body.contains("keyferry_ready 0\n"));
    for path in ["/nothing", "/metrics/", "//", "/pausee"] {
        assert_eq!(bench.get(path).await.code, 404, "{path}");
    }
    let head = bench.send("HEAD /metrics HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!((head.code, head.body.as_str()), (200, ""));
    for (method, path, allowed) in [
        ("GET", "/pause", "allow: post"),
        ("POST", "/metrics", "allow: get, head"),
        ("DELETE", "/status", "allow: get, head"),
    ] {
        let said = bench.send(&format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        assert_eq!(said.code, 405, "{method} {path}");
        assert!(said.head.contains(allowed), "{}", said.head);
    }
}

#[tokio::test]
async fn what_is_too_large_or_no_http_is_refused() {
    let bench = Bench::plain().await;
    let said = bench.order("/throttle", &" ".repeat(5_000)).await;
    assert_eq!(said.code, 400);
    let head = "x".repeat(20_000);
    let said = bench.send(&format!("GET / HTTP/1.1\r\nHost: h\r\nX: {head}\r\n\r\n")).await;
    assert_eq!(said.code, 431);
    assert_eq!(bench.send("nonsense\r\n\r\n").await.code, 400);
    assert_eq!(bench.apply.limits(), Limits::default());
    assert_eq!(bench.get("/healthz").await.code, 200);
}

#[tokio::test]
async fn whoever_is_slow_is_let_go_and_keeps_only_a_share_of_the_connections() {
    let clock = ManualClock::new(0);
    let bench = Bench::start(Some(TOKEN), Arc::new(clock.clone())).await;
    let mut slow = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        slow.push(stream);
    }
    clock.wait_for_sleepers(CONNECTIONS).await;
    let asked = bench.get("/healthz");
    let passing = async {
        tokio::task::yield_now().await;
        assert_eq!(clock.sleepers(), CONNECTIONS, "more are served than there may be");
        clock.advance(CONNECTION_TIME);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        said = asked => assert_eq!(said.code, 200),
        () = passing => {}
    }
    for mut stream in slow {
        let mut said = Vec::new();
        // Closed, or reset with what it had sent unread.
        stream.read_to_end(&mut said).await.ok();
        assert!(said.is_empty());
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_whoever_asks() {
    let bench = Bench::plain().await;
    let mut slow = TcpStream::connect(bench.address).await.unwrap();
    slow.write_all(b"GET / HT").await.unwrap();
    bench.tasks.stop_token().cancel();
    let outcome = bench.tasks.join(Duration::from_secs(20)).await;
    assert!(outcome.is_clean(), "{outcome}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let bench = Bench::plain().await;
    let address = bench.address.to_string();
    let parts = Parts {
        status: StatusNode::root(),
        clock: Arc::new(SystemClock::new()),
        version: "1",
        controls: Vec::new(),
        token: None,
        readiness: Arc::new(|| Ok(())),
    };
    let refused = Admin::bind(&address, parts).await.unwrap_err();
    assert!(refused.to_string().contains(&address), "{refused}");
    assert_eq!(refused.source.kind(), std::io::ErrorKind::AddrInUse);
}
